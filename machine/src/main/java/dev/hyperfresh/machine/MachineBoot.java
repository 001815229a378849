package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.HostProcess;
import dev.hyperfresh.qemu.QemuControl;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.AgentException;
import dev.hyperfresh.vm.TroubleException;
import dev.hyperfresh.vm.VirtualMachine;
import dev.hyperfresh.vm.VmFile;
import dev.hyperfresh.vm.VmHardware;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmSettings;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/// How machines come up, and how they are taken over from an earlier daemon. Stateless.
final class MachineBoot implements VmKind<Machine, MachineRelease> {
  private static final System.Logger LOG = System.getLogger(MachineBoot.class.getName());

  /// Below this the machine's userland does not fit beside a guest's QEMU.
  private static final long LEAST_MEMORY_BYTES = 512L << 20;

  /// With more of them QEMU's translator has ended machines with guests in them.
  private static final int TRANSLATED_VCPUS = 1;

  static final About ABOUT =
      new About(
          "Machine",
          "A machine",
          MachineRelease.KIND,
          "machine.properties",
          LEAST_MEMORY_BYTES,
          TRANSLATED_VCPUS,
          Problem.MACHINE_EXISTS,
          Problem.MACHINE_UNKNOWN,
          Problem.MACHINE_START,
          "machine delete NAME");

  /// Translated on a busy host it takes tens of seconds.
  private static final Duration BOOT_LIMIT = Duration.ofMinutes(4);

  /// How long a machine that an earlier daemon left may take for its first answer.
  private static final Duration ANSWER_LIMIT = Duration.ofSeconds(20);

  @Override
  public About about() {
    return ABOUT;
  }

  private static VirtualMachine reached(
      VmSettings<MachineRelease> settings,
      Path files,
      Path sockets,
      HostProcess process,
      Duration patience) {
    return new VirtualMachine(
        "machine " + settings.name(),
        settings.accelerator() == Accelerator.TCG,
        files,
        sockets(settings.name(), sockets),
        process,
        patience);
  }

  private static VirtualMachine.Sockets sockets(String name, Path folder) {
    return VirtualMachine.Sockets.of(folder, name, MachineRelease.KIND);
  }

  @Override
  public Machine boot(VmSettings<MachineRelease> settings, Path files, Path sockets) {
    try {
      return up(settings, files, sockets);
    } catch (LinuxException | QemuControl.RefusedException | AgentException e) {
      sockets(settings.name(), sockets).remove();
      throw ABOUT
          .start()
          .because(
              settings.name()
                  + " ("
                  + settings.release().name()
                  + ") did not start: "
                  + e.getMessage()
                  + "."
                  + VmHardware.lastWords(files),
              e);
    }
  }

  private static Machine up(VmSettings<MachineRelease> settings, Path files, Path sockets) {
    LedgerFile.EMPTY.write(files);
    long start = Clock.monotonicNanos();
    HostProcess process =
        VmHardware.spawn(
            settings, board(settings), Map.of(), files, sockets(settings.name(), sockets));
    try {
      VmFile file = VmFile.of(settings).on(ProcessIdentity.of(process.pid()));
      file.write(files);
      VirtualMachine vm = reached(settings, files, sockets, process, BOOT_LIMIT);
      double bootMs = (Clock.monotonicNanos() - start) / 1e6;
      file.asBooted(bootMs).write(files);
      return new Machine(settings, files, new Ledger(files), vm, bootMs);
    } catch (RuntimeException e) {
      process.kill();
      process.close();
      VmFile.remove(files);
      throw e;
    }
  }

  private static VmHardware.Board board(VmSettings<MachineRelease> settings) {
    return new VmHardware.Board(
        MachineRelease.KIND,
        // Devices come and go on one flat bus of 29 places by the ACPI of this machine type. A
        // machine never moves itself, so that the alias does no harm.
        "pc",
        // TCG translates AMD's virtualization and not Intel's.
        settings.accelerator() == Accelerator.KVM ? "host" : "EPYC,+svm,+npt",
        // Its network cards belong to guests, and must not say a word of their own.
        "ipv6.disable=1",
        List.of());
  }

  /// What belongs to no guest that runs is taken out of it.
  @Override
  public Machine again(VmSettings<MachineRelease> settings, VmFile file, Path files, Path sockets) {
    Ledger ledger = new Ledger(files);
    try {
      requireGoing(settings.name(), file, ledger);
      Machine machine = reach(settings, file, files, sockets, ledger);
      try {
        tidy(machine);
        return machine;
      } catch (RuntimeException e) {
        machine.letGo();
        throw e;
      }
    } catch (LinuxException | QemuControl.RefusedException | AgentException e) {
      throw new TroubleException("it does not answer: " + e.getMessage(), e);
    }
  }

  private static Machine reach(
      VmSettings<MachineRelease> settings, VmFile file, Path files, Path sockets, Ledger ledger) {
    HostProcess process = HostProcess.survivor(file.process().pid());
    try {
      VirtualMachine vm = reached(settings, files, sockets, process, ANSWER_LIMIT);
      return new Machine(settings, files, ledger, vm, file.bootMs());
    } catch (RuntimeException e) {
      process.close();
      throw e;
    }
  }

  /// An earlier daemon stops a machine when it cannot do otherwise, and lets it go on when what it
  /// was in doubt of has been settled. It may have died in between.
  private static void requireGoing(String name, VmFile file, Ledger ledger) {
    if (!ledger.isHalted()) {
      return;
    }
    if (ledger.places().stream().anyMatch(LedgerFile.Entry::condemned)) {
      throw new TroubleException(
          "it was paused and stays so, because it contains a hypervisor that must not run again");
    }
    try (PidFd process = PidFd.open(file.process().pid())) {
      process.signal(Signals.CONT);
    }
    LOG.log(System.Logger.Level.INFO, "machine " + name + " was paused and is resumed");
    ledger.halted(false);
  }

  /// Takes out what an earlier daemon had not finished making or removing, and what has ended.
  private static void tidy(Machine machine) {
    machine.vm().descriptors().forgetUnnamed();
    if (machine.ledger().places().stream().anyMatch(place -> place.inner() == 0)) {
      endUnknown(machine);
    }
    for (LedgerFile.Entry place : machine.ledger().places()) {
      if (place.inner() == 0 || !machine.vm().programs().runs(place.inner())) {
        Place.again(machine, place).close();
      }
    }
  }

  /// A program inside whose number nobody has written down was being started for a place that was
  /// not ready yet. The agent knows its own children only by number, and these are small.
  private static void endUnknown(Machine machine) {
    VirtualMachine vm = machine.vm();
    List<Integer> known = machine.ledger().places().stream().map(LedgerFile.Entry::inner).toList();
    int last =
        vm.ask(a ->
            a.start(
                new Agent.Program(
                    List.of(VirtualMachine.AGENT, "remove", "-"), Map.of(), List.of())));
    vm.programs().watch(last, _ -> {});
    for (int pid = 2; pid < last; pid++) {
      if (!known.contains(pid) && vm.programs().runs(pid)) {
        LOG.log(System.Logger.Level.INFO, "process " + pid + " in " + machine.name() + " is ended");
        vm.programs().end(pid);
      }
    }
  }

  @Override
  public void forget(String name, Path files, Path sockets) {
    sockets(name, sockets).remove();
    VmFile.remove(files);
    LedgerFile.remove(files);
  }
}
