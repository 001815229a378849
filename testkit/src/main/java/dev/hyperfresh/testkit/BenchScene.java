package dev.hyperfresh.testkit;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// One guest that is moved in several ways.
///
/// @param name for people
/// @param spec the guest
/// @param writes whether it writes to nearly all of its memory all the time
/// @param ways of QEMU alone that it is moved in, beside HyperFresh's
/// @param turns how many moves each way has that count
/// @param limit how long a move may take; one that takes longer is given up
record BenchScene(
    String name, GuestSpec spec, boolean writes, List<RivalWay> ways, int turns, Duration limit) {
  /// How much of its memory a busy guest of Linux writes, percent: the rest is its kernel's.
  private static final int WRITTEN = 70;

  /// How much it writes, MiB a second: a word of each page.
  private static final int WRITTEN_A_SECOND = 256;

  /// With so many an interval says something.
  private static final int FEW = 5;

  private static final int MANY = 20;

  /// What a turn of one guest takes with all that belongs to it, about.
  private static final Duration MOVE = Duration.ofMillis(1100);

  /// What its boot takes, when others boot beside it.
  private static final Duration BOOT = Duration.ofSeconds(3);

  private static final long LARGEST_QUICK = 4096;
  private static final long LARGEST = 16_384;

  /// Ways that are tried on a guest whose writes may be too fast for them. To save it to a file
  /// would come to no end for the same reason.
  private static final List<RivalWay> WHILE_IT_WRITES =
      List.of(
          RivalWay.BY_HAND,
          RivalWay.PRE_COPY,
          RivalWay.PRE_COPY_NO_CAP,
          RivalWay.MULTIFD,
          RivalWay.POST_COPY,
          RivalWay.CPR_REBOOT,
          RivalWay.CPR_TRANSFER);

  BenchScene {
    ways = List.copyOf(ways);
  }

  /// Guests that differ in nothing but the size of their memory.
  ///
  /// @param name for people
  /// @param guests the smallest first
  record Series(String name, List<GuestSpec> guests) {
    Series {
      guests = List.copyOf(guests);
    }
  }

  /// All that this host can show.
  ///
  /// @param kvm whether it runs guests on KVM, if only their ring 3
  static List<BenchScene> all(GuestImages images, boolean kvm, boolean quick) {
    int turns = turns(quick);
    List<RivalWay> ways = List.of(RivalWay.values());
    List<BenchScene> scenes = new ArrayList<>();
    scenes.add(
        new BenchScene(
            "Linux, 256 MiB, translated",
            linux("linux", images, 256, ""),
            false,
            ways,
            turns,
            Duration.ofMinutes(1)));
    if (kvm) {
      scenes.add(
          new BenchScene(
              "ring 3, 512 MiB, KVM",
              bare("ring3", 512, AcceleratorWish.KVM, images.ring3()),
              false,
              quick ? ways.stream().filter(RivalWay::sharesMemory).toList() : ways,
              turns,
              Duration.ofMinutes(1)));
    }
    scenes.add(
        new BenchScene(
            "1 GiB, 992 MiB written all the time, " + (kvm ? "KVM" : "translated"),
            bare("sweep", 1024, kvm ? AcceleratorWish.KVM : AcceleratorWish.TCG, images.sweep()),
            true,
            WHILE_IT_WRITES,
            quick ? BenchTurns.LEAST : FEW,
            Duration.ofSeconds(quick ? 5 : 60)));
    return List.copyOf(scenes);
  }

  /// How many moves that count a guest has that is nothing but moved.
  static int turns(boolean quick) {
    return quick ? FEW : MANY;
  }

  /// The sizes of memory whose blackouts are compared, for several guests.
  ///
  /// @param available of the host's memory, bytes
  static List<Series> memory(GuestImages images, boolean kvm, long available, boolean quick) {
    List<Long> sizes = sizes(available >> 20, quick ? LARGEST_QUICK : LARGEST);
    List<Series> all = new ArrayList<>();
    if (kvm) {
      all.add(
          new Series(
              "ring 3, KVM, idle",
              sizes.stream()
                  .map(size -> bare("ring" + size, size, AcceleratorWish.KVM, images.ring3()))
                  .toList()));
    }
    if (!kvm || !quick) {
      all.add(
          new Series(
              "Linux, translated, idle",
              sizes.stream()
                  .map(size -> linux("idle" + size, images, size, " hf.period=5000"))
                  .toList()));
    }
    all.add(
        new Series(
            "Linux, translated, writing " + WRITTEN + " % of it, " + WRITTEN_A_SECOND + " MiB/s",
            sizes.stream()
                .map(size -> linux("busy" + size, images, size, " hf.period=5000" + dirty(size)))
                .toList()));
    return List.copyOf(all);
  }

  private static String dirty(long mebibytes) {
    return " hf.dirty=" + mebibytes * WRITTEN / 100 + ":" + WRITTEN_A_SECOND;
  }

  /// From 256 MiB on, each four times the one before, as far as busy guests of all of them fit into
  /// the host's memory together.
  static List<Long> sizes(long available, long largest) {
    List<Long> sizes = new ArrayList<>();
    long together = 0;
    for (long size = 256; size <= largest && together + size < available; size *= 4) {
      sizes.add(size);
      together += size;
    }
    return List.copyOf(sizes);
  }

  /// What its guests take of the host's memory, bytes, with that of a new one into which a guest is
  /// copied. Those that write little take little.
  long needs() {
    return writes ? spec.memoryBytes() * (2 + ways.size()) : 0;
  }

  /// How long it takes about, where nothing is known of the host.
  Duration expected() {
    long hopeless = writes ? ways.stream().filter(RivalWay::chasesWrites).count() : 0;
    return expected(1 + ways.size(), turns).plus(limit.multipliedBy(hopeless));
  }

  /// The same of guests that are only moved.
  static Duration expected(int guests, int turns) {
    return MOVE.multipliedBy((long) (BenchTurns.WARM_UP + turns) * guests)
        .plus(BOOT.multipliedBy(guests));
  }

  private static GuestSpec linux(String name, GuestImages images, long mebibytes, String more) {
    return spec(
        name,
        mebibytes,
        AcceleratorWish.TCG,
        new KernelBoot(
            images.kernel(),
            Optional.of(images.initrd()),
            "console=ttyS0 quiet panic=-1 cryptomgr.notests" + more));
  }

  private static GuestSpec bare(
      String name, long mebibytes, AcceleratorWish accelerator, Path image) {
    return spec(name, mebibytes, accelerator, new KernelBoot(image, Optional.empty(), ""));
  }

  private static GuestSpec spec(
      String name, long mebibytes, AcceleratorWish accelerator, KernelBoot boot) {
    return new GuestSpec(
        name,
        1,
        mebibytes << 20,
        "pc-q35-7.2",
        "qemu64",
        accelerator,
        Optional.of(boot),
        List.of(),
        List.of());
  }
}
