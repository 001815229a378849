package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsRecipe;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;

/// Operating systems and containers of one state directory, as a daemon has them.
///
/// As a program it takes back what is there, and then makes the systems `older` and `newer` and the
/// container `c1` in the first, or moves that container; and waits to be killed. Arguments: the
/// state directory, and the address and the bundle of the container, or the OS it goes to; after
/// that, `until` and the state at which it kills itself may follow.
final class OsDaemon {
  static final String DONE = "all is done";
  private static final Duration PATIENCE = Duration.ofSeconds(60);
  private static final VmReleases<OsRelease> RELEASES =
      OsRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);

  final Systems systems;

  /// What was told of what happened.
  final Witness witness = new Witness();

  /// What the recovery said.
  final List<String> told = new CopyOnWriteArrayList<>();

  private OsDaemon(Path state) {
    systems = new Systems(state, state.resolve("run"), witness);
    systems.recover(RELEASES::builtByAny, Workshop::release, PATIENCE, this::say);
  }

  /// A daemon that takes back what is there.
  static OsDaemon start(Path state) {
    return new OsDaemon(state);
  }

  private void say(String line) {
    told.add(line);
    Workshop.say(line);
  }

  /// Packages come from outside of the network in which containers are.
  static OsRelease release(String kernel) {
    return RELEASES
        .find(OsRelease.KIND + "-" + kernel)
        .orElseGet(() -> RELEASES.build(kernel, OsRecipe.USERLAND, Workshop::say));
  }

  /// An OS on the hardware of QEMU 10.0, under KVM where that is usable.
  static VmSettings<OsRelease> settings(String name, String kernel, int vcpus, long memoryBytes) {
    return new VmSettings<>(
        name,
        release(kernel),
        Workshop.release("qemu-10.0"),
        Workshop.KVM.verdict() == KvmProbe.Verdict.USABLE ? Accelerator.KVM : Accelerator.TCG,
        vcpus,
        memoryBytes);
  }

  void boot(String name, String kernel) {
    // The timer of a second processor that is translated may stand still, and programs with it.
    systems.create(settings(name, kernel, 1, 1L << 30));
  }

  private void make(String address, Path bundle) {
    Workshop.together(() -> boot("older", "6.1"), () -> boot("newer", "6.12"));
    systems.run(
        new ContainerSpec(
            "c1",
            bundle,
            Optional.of(new ContainerSpec.Network(address, Optional.empty(), Optional.of("br0")))),
        "older",
        Progress.NONE);
  }

  public static void main(String[] arguments) throws InterruptedException {
    OsDaemon daemon = start(Path.of(arguments[0]));
    if (arguments.length == 3) {
      daemon.make(arguments[1], Path.of(arguments[2]));
    } else {
      String last = arguments.length == 4 ? arguments[3] : "";
      daemon.systems.relocate(
          "c1",
          arguments[1],
          Transport.MAPPED,
          (state, text) -> {
            System.out.printf(Locale.ROOT, "%s: %s%n", state, text);
            if (state.equals(last)) {
              MortalDaemon.die();
            }
          });
    }
    System.out.println(DONE);
    new CountDownLatch(1).await();
  }
}
