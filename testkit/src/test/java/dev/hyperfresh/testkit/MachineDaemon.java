package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineKind;
import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.vm.VmReleases;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.UnaryOperator;

/// Machines and guests of one state directory, as a daemon has them.
///
/// As a program it makes two machines and guests in the first, moves the guest `web1` to the
/// second, and kills itself at a chosen call of that. Arguments: the state directory, the two words
/// of [MortalDaemon], the names of the guests.
final class MachineDaemon {
  static final Duration MAX_BLACKOUT = Duration.ofSeconds(20);
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static final VmReleases<MachineRelease> RELEASES =
      MachineRecipe.releases(Workshop.CACHE.resolve("releases"), Workshop.PACKAGES);

  final Machines machines;
  final Hyperplexor hyperplexor;

  /// What the recovery said.
  final List<String> told = new CopyOnWriteArrayList<>();

  /// The replacements that the recovery ended.
  final List<ReplacementRecord> ended = new CopyOnWriteArrayList<>();

  private MachineDaemon(Path state, UnaryOperator<Hypervisor> fate) {
    Qemu processes = new Qemu();
    machines = new Machines(state.resolve("machines"), state.resolve("run"));
    hyperplexor =
        new Hyperplexor(
            state,
            new Kinds(
                fate.apply(processes),
                fate.apply(new MachineKind(processes, ControlWatcher.NONE, machines))),
            Workshop.KVM,
            _ -> {});
  }

  /// A daemon that takes back what is there.
  static MachineDaemon start(Path state) {
    MachineDaemon daemon = new MachineDaemon(state, UnaryOperator.identity());
    daemon.machines.recover(
        name -> RELEASES.find(name).orElseThrow(), Workshop::release, PATIENCE, daemon::say);
    daemon.hyperplexor.takeBack(
        daemon.machines::get, Map.of(), PATIENCE, daemon::say, daemon.ended::add);
    return daemon;
  }

  private void say(String line) {
    told.add(line);
    Workshop.say(line);
  }

  /// Lets everything go on without a daemon.
  void letGo() {
    hyperplexor.letGo();
    machines.letGo();
  }

  /// Ends everything.
  void close() {
    hyperplexor.close();
    machines.close();
  }

  static MachineRelease release(String kernel, String qemu) {
    String name = "machine-" + kernel + "+qemu-" + qemu;
    return RELEASES.find(name).orElseGet(() -> RELEASES.build(kernel, qemu, Workshop::say));
  }

  Machine machine(String name, String kernel, String qemu) {
    return machines.create(
        new VmSettings<>(
            name,
            release(kernel, qemu),
            Workshop.release("qemu-10.0"),
            Accelerator.TCG,
            1,
            VmSettings.DEFAULT_MEMORY_BYTES));
  }

  ReplacementRecord replace(String guest, Machine to) {
    return hyperplexor.replace(guest, to, MAX_BLACKOUT, Progress.NONE);
  }

  public static void main(String[] arguments) {
    Path state = Path.of(arguments[0]);
    MachineDaemon daemon =
        new MachineDaemon(state, real -> MortalDaemon.mortal(real, arguments[1], arguments[2]));
    Workshop.together(
        () -> daemon.machine("m1", "6.1", "10.0"), () -> daemon.machine("m2", "6.12", "10.0"));
    Machine first = daemon.machines.get("m1");
    Machine second = daemon.machines.get("m2");
    List<String> guests = List.of(arguments).subList(3, arguments.length);
    for (String name : guests) {
      daemon.hyperplexor.create(
          Workshop.tick(name, 64, AcceleratorWish.AUTO), first, Progress.NONE);
      System.out.println(name + " was created");
    }
    for (String name : guests) {
      TestGuest.beatingInMachine(first.pid(), name, Duration.ofMinutes(4)).close();
    }
    System.out.println("moving");
    System.out.println(daemon.replace("web1", second));
  }
}
