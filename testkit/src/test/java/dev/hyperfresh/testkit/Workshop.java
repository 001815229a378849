package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.WatchTimes;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Nic;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.junit.jupiter.api.Assumptions;

/// Releases, guest images and specs for tests; what was fetched once serves all of them.
final class Workshop {
  static final Path CACHE = cache();
  static final DebianPackages PACKAGES = new DebianPackages(CACHE.resolve("apt"));
  static final QemuReleases RELEASES = new QemuReleases(CACHE.resolve("releases"), PACKAGES);
  static final KvmProbe.Result KVM = KvmProbe.probe(Path.of("/dev/kvm"));

  /// What a Linux guest says when all is up.
  static final String READY = "HF-GUEST READY";

  private static final String PROMPT = " # ";

  /// Far more than any test guest needs to boot, also translated on a busy host.
  static final Duration BOOT = Duration.ofMinutes(2);

  /// How long heartbeats are watched where nothing is measured.
  static final WatchTimes BRIEFLY = new WatchTimes(Duration.ofMillis(200), Duration.ofMillis(100));

  // Held here, because the log manager would forget the level with the logger.
  private static final List<Logger> CHATTY =
      List.of(Logger.getLogger("io.helidon"), Logger.getLogger("dev.hyperfresh"));

  static {
    CHATTY.forEach(logger -> logger.setLevel(Level.WARNING));
  }

  private Workshop() {}

  private static Path cache() {
    String named = System.getenv("HYPERFRESH_HOME");
    return named != null
        ? Path.of(named)
        : Path.of(System.getProperty("user.home"), ".cache", "hyperfresh");
  }

  static QemuRelease release(String name) {
    return RELEASES.fetch(name, Workshop::say);
  }

  /// A release that is no longer to be had once its suite has a newer series; says so when it is
  /// not.
  static Optional<QemuRelease> releaseIfOffered(String name) {
    try {
      return Optional.of(release(name));
    } catch (HyperFreshException e) {
      // One with a cause says that the archives could not be asked.
      if (e.problem() != Problem.RELEASE_FETCH || e.getCause() != null) {
        throw e;
      }
      System.out.println("skipped: " + e.getMessage());
      return Optional.empty();
    }
  }

  static GuestImages images() {
    return GuestImages.build(CACHE, PACKAGES, Workshop::say);
  }

  /// One that loses no time with figures that no test looks at.
  static Hyperplexor hyperplexor(Path state) {
    return hyperplexor(state, BRIEFLY);
  }

  static Hyperplexor hyperplexor(Path state, WatchTimes watchTimes) {
    return new Hyperplexor(state, new Kinds(new Qemu()), KVM, _ -> {}, watchTimes);
  }

  static GuestSpec linux(String name, long mebibytes, List<Disk> disks, List<Nic> nics) {
    GuestImages images = images();
    return spec(
        name,
        mebibytes,
        AcceleratorWish.AUTO,
        new GuestSpec.KernelBoot(
            images.kernel(),
            Optional.of(images.initrd()),
            "console=ttyS0 quiet panic=-1 cryptomgr.notests hf.ip=10.77.0.2/24 hf.period=5000"),
        disks,
        nics);
  }

  static GuestSpec ring3(String name, long mebibytes, AcceleratorWish accelerator) {
    return bare(name, mebibytes, accelerator, images().ring3());
  }

  /// A guest that hardly takes anything of its host.
  static GuestSpec tick(String name, long mebibytes, AcceleratorWish accelerator) {
    return bare(name, mebibytes, accelerator, images().tick());
  }

  /// A guest of 1 GiB that writes to nearly all of its memory all the time.
  static GuestSpec sweep(String name, AcceleratorWish accelerator) {
    return bare(name, 1024, accelerator, images().sweep());
  }

  private static GuestSpec bare(
      String name, long mebibytes, AcceleratorWish accelerator, Path image) {
    return spec(
        name,
        mebibytes,
        accelerator,
        new GuestSpec.KernelBoot(image, Optional.empty(), ""),
        List.of(),
        List.of());
  }

  private static GuestSpec spec(
      String name,
      long mebibytes,
      AcceleratorWish accelerator,
      GuestSpec.KernelBoot boot,
      List<Disk> disks,
      List<Nic> nics) {
    return new GuestSpec(
        name,
        1,
        mebibytes << 20,
        "pc-q35-7.2",
        "qemu64",
        accelerator,
        Optional.of(boot),
        disks,
        nics);
  }

  /// Leaves the test out, and says why, unless `holds`.
  static void require(boolean holds, String otherwise) {
    if (!holds) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  /// Leaves the test out where no guest can run on real KVM, not even one in ring 3.
  static void requireKvm() {
    require(
        KVM.verdict() == KvmProbe.Verdict.USABLE || KVM.verdict() == KvmProbe.Verdict.SLOW_RING0,
        KVM.reason());
  }

  static GuestSpec withAccelerator(GuestSpec spec, AcceleratorWish accelerator) {
    return new GuestSpec(
        spec.name(),
        spec.vcpus(),
        spec.memoryBytes(),
        spec.machine(),
        spec.cpu(),
        accelerator,
        spec.boot(),
        spec.disks(),
        spec.nics());
  }

  /// A port of this host that nobody has, below those that the kernel gives to whoever wants any,
  /// and one that a screen can have.
  static int freePort() {
    for (int port = ThreadLocalRandom.current().nextInt(5900, 30_000); true; port++) {
      try (ServerSocket free = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
        return free.getLocalPort();
      } catch (IOException e) {
        if (port == 32_767) {
          throw new UncheckedIOException("no port is free", e);
        }
      }
    }
  }

  /// Waits until `condition` holds, and fails the test when it does not within `patience`.
  static void await(String what, Duration patience, BooleanSupplier condition) {
    long deadline = System.nanoTime() + patience.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("no sign of " + what + " within " + patience.toSeconds() + " s");
      }
      pause(Duration.ofMillis(5));
    }
  }

  static void pause(Duration duration) {
    LockSupport.parkNanos(duration.toNanos());
  }

  /// How many runnable tasks share a core of this host, at least 1; promises of times are for a
  /// host that is not crowded.
  static double crowd() {
    try {
      String load = Files.readString(Path.of("/proc/loadavg")).split(" ")[0];
      return Math.max(1, Double.parseDouble(load) / Runtime.getRuntime().availableProcessors());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Does all of it at once, and fails when any of it has failed. A translated machine boots with
  /// one processor of the host; two boot in the same time.
  static void together(Runnable... works) {
    List<CompletableFuture<?>> ends = new ArrayList<>();
    for (Runnable work : works) {
      CompletableFuture<?> end = new CompletableFuture<>();
      ends.add(end);
      // A thread has the network namespace of the one that starts it.
      var _ =
          Thread.ofPlatform()
              .name("together")
              .start(() -> {
                try {
                  work.run();
                  end.complete(null);
                } catch (Throwable e) {
                  end.completeExceptionally(e);
                }
              });
    }
    CompletableFuture.allOf(ends.toArray(CompletableFuture[]::new)).join();
  }

  /// Waits for the end of a thread, or until this one is interrupted.
  static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Waits until the Linux guest whose folder is `files` has said on its console that all is up,
  /// and its shell asks for a command: what is typed before is thrown away, or echoed in two
  /// pieces.
  static void awaitReady(Path files) {
    awaitReady(files, "console.log");
  }

  /// As [#awaitReady(Path)], with another name of the console's log.
  static void awaitReady(Path files, String log) {
    Path console = files.resolve(log);
    await(READY + " in " + console, BOOT, () -> contains(console, READY));
    await("a prompt in " + console, BOOT, () -> asksForACommand(console));
  }

  private static boolean asksForACommand(Path console) {
    String said = text(console);
    return said.indexOf(PROMPT, said.indexOf(READY)) >= 0;
  }

  /// Whether a file has `text` in it; not one that is not there, or is gone in this moment.
  static boolean contains(Path file, String text) {
    return text(file).contains(text);
  }

  private static String text(Path file) {
    return new String(bytes(file), StandardCharsets.ISO_8859_1);
  }

  private static byte[] bytes(Path file) {
    try {
      return Files.readAllBytes(file);
    } catch (NoSuchFileException e) {
      return new byte[0];
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The lines of a file that somebody is writing, without the beginning of one at its end: a write
  /// across the end of a page is seen in two pieces. None of a file that is not there.
  static List<String> wholeLines(Path file) {
    // Also of a character there may be half.
    String text = new String(bytes(file), StandardCharsets.UTF_8);
    return text.substring(0, text.lastIndexOf('\n') + 1).lines().toList();
  }

  static void say(String line) {
    System.out.println("  " + line);
  }
}
