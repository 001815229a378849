package dev.hyperfresh.testkit;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.KernelBoot;
import dev.hyperfresh.testkit.RivalQemu.Way;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// One guest that is moved in several ways.
///
/// @param name for people
/// @param spec the guest
/// @param ways of QEMU alone that it is moved in, beside HyperFresh's
/// @param turns how many moves each way has that count
/// @param limit how long a move may take; one that takes longer is given up
record BenchScene(String name, GuestSpec spec, List<Way> ways, int turns, Duration limit) {
  private static final String COMMAND_LINE = "console=ttyS0 quiet panic=-1 cryptomgr.notests";

  /// With so many an interval says something.
  private static final int FEW = 5;

  private static final int MANY = 20;

  /// A move that takes seconds tells as much with fewer.
  private static final int SELDOM = 3;

  BenchScene {
    ways = List.copyOf(ways);
  }

  /// All that this host can show.
  ///
  /// @param kvm whether it runs guests on KVM, if only their ring 3
  static List<BenchScene> all(GuestImages images, boolean kvm, boolean quick) {
    int turns = quick ? FEW : MANY;
    List<BenchScene> scenes = new ArrayList<>();
    scenes.add(
        new BenchScene(
            "Linux, 256 MiB, translated",
            linux(images, 256),
            List.of(Way.values()),
            turns,
            Duration.ofMinutes(1)));
    if (kvm) {
      scenes.add(
          new BenchScene(
              "ring 3, 512 MiB, KVM",
              bare("ring3", 512, images.ring3()),
              List.of(Way.values()),
              turns,
              Duration.ofMinutes(1)));
      scenes.add(
          new BenchScene(
              "1 GiB of which 992 MiB are written all the time, KVM",
              bare("sweep", 1024, images.sweep()),
              List.of(Way.BY_HAND, Way.PRE_COPY, Way.PRE_COPY_NO_CAP),
              quick ? SELDOM : FEW,
              Duration.ofSeconds(quick ? 15 : 60)));
    }
    return scenes;
  }

  /// The sizes of memory whose blackouts are compared.
  ///
  /// @param available of the host's memory, bytes
  static List<BenchScene> sizes(GuestImages images, long available, boolean quick) {
    List<BenchScene> scenes = new ArrayList<>();
    for (long mebibytes = 256; mebibytes <= 16_384 && ((2 * mebibytes) << 20) < available; ) {
      scenes.add(
          new BenchScene(
              mebibytes + " MiB",
              bare("size" + mebibytes, mebibytes, images.ring3()),
              List.of(),
              quick ? FEW : MANY,
              Duration.ofMinutes(1)));
      mebibytes *= 4;
    }
    return scenes;
  }

  private static GuestSpec linux(GuestImages images, long mebibytes) {
    return spec(
        "linux",
        mebibytes,
        AcceleratorWish.TCG,
        new KernelBoot(images.kernel(), Optional.of(images.initrd()), COMMAND_LINE));
  }

  private static GuestSpec bare(String name, long mebibytes, Path image) {
    return spec(name, mebibytes, AcceleratorWish.KVM, new KernelBoot(image, Optional.empty(), ""));
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
