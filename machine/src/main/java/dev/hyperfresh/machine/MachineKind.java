package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Firmware;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryLayout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.ControlWatcher;
import dev.hyperfresh.qemu.Qemu;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.HardwareFiles;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/// The `machine` kind of hypervisor: each guest in a QEMU inside a [Machine].
public final class MachineKind implements Hypervisor {
  /// A translated machine on a busy host takes seconds for what a process does at once.
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private final Qemu processes;
  private final ControlWatcher watcher;
  private final Optional<Machines> machines;

  /// One that takes back nothing which an earlier daemon left.
  ///
  /// @param processes the kind that fixes what a guest needs on any kind
  public MachineKind(Qemu processes) {
    this(processes, ControlWatcher.NONE);
  }

  /// As the other one, with a watcher of all control channels.
  public MachineKind(Qemu processes, ControlWatcher watcher) {
    this(processes, watcher, Optional.empty());
  }

  /// With a watcher of all control channels.
  ///
  /// @param machines where the guests are that an earlier daemon left; [Machines#recover] comes
  ///   before they are taken back
  public MachineKind(Qemu processes, ControlWatcher watcher, Machines machines) {
    this(processes, watcher, Optional.of(machines));
  }

  private MachineKind(Qemu processes, ControlWatcher watcher, Optional<Machines> machines) {
    this.processes = processes;
    this.watcher = watcher;
    this.machines = machines;
  }

  @Override
  public String kind() {
    return MachineRelease.KIND;
  }

  @Override
  public AcceleratorChoice accelerator(
      AcceleratorWish wish, Release release, KvmProbe.Result host) {
    return wish == AcceleratorWish.TCG
        ? new AcceleratorChoice(Accelerator.TCG, "the guest's spec asks for it")
        : new AcceleratorChoice(Accelerator.KVM, "the KVM of machine " + release.name());
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    if (!(release instanceof Machine machine)) {
      return List.of(
          Check.fail(
              "release",
              release.name() + " is a " + release.kind() + ", not a machine.",
              "Name a machine; `hyperfresh machine list` shows them."));
    }
    MachineRelease inside = machine.settings().release();
    List<Check> checks = new ArrayList<>();
    checks.add(running(machine));
    checks.addAll(
        QemuInside.checks(
            spec,
            inside.name(),
            inside.machines(),
            inside.cpus(),
            inside.capabilities(),
            inside.deprecated()));
    checks.addAll(spec.disks().stream().map(MachineKind::disk).toList());
    if (!spec.layout().equals(MemoryLayout.PLAIN)) {
      checks.add(
          Check.fail(
              "memory in a machine",
              "In a machine a guest has one memory, without nodes and without huge pages.",
              "Leave out huge-pages and numa, or choose a release instead of a machine."));
    }
    if (!spec.extras().isEmpty()) {
      checks.add(
          Check.fail(
              "devices in a machine",
              "In a machine a guest has plain virtio disks and cards alone, and its spec has "
                  + String.join(", ", spec.extras())
                  + ".",
              "Leave that out, or choose a release instead of a machine."));
    }
    if (!spec.firmware().equals(Firmware.DEFAULT)) {
      checks.add(
          Check.fail(
              "firmware in a machine",
              "In a machine a guest has neither UEFI nor a TPM.",
              "Leave out firmware and tpm, or choose a release instead of a machine."));
    }
    return checks;
  }

  private static Check running(Machine machine) {
    return machine.ended()
        ? Check.fail(
            "release",
            "Machine " + machine.name() + " has ended.",
            "Create another one with `hyperfresh machine create`.")
        : Check.pass(
            "release",
            "Machine " + machine.name() + " runs " + machine.settings().release().name() + ".");
  }

  private static Check disk(GuestSpec.Disk disk) {
    String name = "disk " + disk.path().getFileName() + " in a machine";
    return disk.format() == GuestSpec.Disk.Format.RAW
        ? Check.pass(name, disk.path() + " is a raw image, which two machines can use at once.")
        : Check.fail(
            name,
            disk.path()
                + " is a "
                + disk.format().label()
                + " image, whose tables two machines cannot use at once.",
            "Convert it with `qemu-img convert -O raw` and create the guest again.");
  }

  @Override
  public void remember(GuestSpec spec, Path files) {
    processes.remember(spec, files);
  }

  @Override
  public void pin(Launch launch) {
    processes.pin(launch);
  }

  @Override
  public Instance start(Launch launch) {
    return start(launch, false, Problem.GUEST_START);
  }

  @Override
  public Instance startWaiting(Launch launch) {
    return start(launch, true, Problem.REPLACE_PREPARE);
  }

  private Instance start(Launch launch, boolean waiting, Problem problem) {
    Machine machine = (Machine) launch.release();
    try {
      return start(machine, launch, waiting);
    } catch (TroubleException | LinuxException e) {
      throw problem.because(
          "Machine " + machine.name() + " did not start the guest's QEMU: " + e.getMessage() + ".",
          e);
    }
  }

  private Instance start(Machine machine, Launch launch, boolean waiting) {
    Path console = socket(launch, ".con");
    Place.Ready ready = Place.prepare(machine, launch, console, waiting);
    InnerQemu process;
    try {
      Agent.Program program =
          ready.place().program(launch, ready.inside().command(launch, waiting));
      int inner = machine.vm().ask(agent -> agent.start(program));
      process = new InnerQemu(machine, ready.place(), launch, inner, List.of(console));
    } catch (RuntimeException e) {
      ready.control().close();
      ready.place().close();
      throw e;
    }
    try {
      ready.place().inhabited(process.inner());
    } catch (HyperFreshException e) {
      process.kill();
      process.close();
      ready.control().close();
      throw e;
    }
    return greeted(ready, process, launch, console);
  }

  private Instance greeted(Place.Ready ready, InnerQemu process, Launch launch, Path console) {
    try {
      Instance instance =
          QemuInside.instance(launch, process, ready.control(), console, watcher, PATIENCE);
      ready.place().started();
      return instance;
    } catch (TroubleException e) {
      process.kill();
      process.close();
      String words = process.lastWords();
      throw new TroubleException(words.isEmpty() ? String.valueOf(e.getMessage()) : words, e);
    }
  }

  private static Path socket(Launch launch, String ending) {
    return launch.sockets().resolve(launch.spec().name() + "." + launch.generation() + ending);
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int queues) {
    List<Fd> taken = new ArrayList<>();
    try (PidFd hardware = PidFd.open(pid)) {
      for (GuestSpec.Nic nic : guest.nics().subList(0, queues)) {
        taken.add(hardware.takeFd(HardwareFiles.queue(pid, nic.tap())));
      }
      Fd memory = hardware.takeFd(HardwareFiles.memory(pid, guest.name()));
      return new Holdings(List.of(memory), taken);
    } catch (LinuxException | TroubleException e) {
      taken.forEach(Fd::close);
      throw Problem.GUEST_STATE.because("Machine " + release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    Machine machine = (Machine) launch.release();
    try {
      LedgerFile.Entry entry =
          machine
              .ledger()
              .find(launch.files(), launch.generation())
              .orElseThrow(() -> new TroubleException("the guest is not in it"));
      return attach(machine, Place.again(machine, entry), launch, entry.inner());
    } catch (TroubleException | LinuxException e) {
      throw Problem.GUEST_STATE.because("Machine " + machine.name() + ": " + e.getMessage(), e);
    }
  }

  private Instance attach(Machine machine, Place place, Launch launch, int inner) {
    Path console = socket(launch, ".con");
    InnerQemu process = InnerQemu.survivor(machine, place, launch, inner, List.of(console));
    try {
      place.serveConsole(console, launch.files());
      return QemuInside.found(launch, process, place.keptControl(), console, watcher, PATIENCE);
    } catch (RuntimeException e) {
      process.close();
      throw e;
    }
  }

  /// A machine keeps no log of what ran in it.
  @Override
  public Optional<Boolean> hasRun(Path files, int generation) {
    return Optional.empty();
  }

  @Override
  public Optional<Adopter> adopter() {
    return Optional.empty();
  }

  /// Rehearsals are processes of this host, of the other kind.
  @Override
  public void endRehearsals(Path guests) {}

  @Override
  public List<Survivor> survivors(Path guests) {
    return machines.stream()
        .flatMap(all -> all.places().entrySet().stream())
        .flatMap(machine ->
            machine.getValue().stream()
                .filter(place -> guests.equals(place.files().getParent()))
                .map(place ->
                    new Survivor(kind(), machine.getKey(), place.files(), place.generation(), 0)))
        .toList();
  }

  @Override
  public boolean hasOwnProcess(Survivor instance) {
    return false;
  }

  /// What is left of one that has ended is taken out of its machine.
  @Override
  public boolean lives(Survivor instance) {
    Machine machine = machine(instance);
    return reaching(() -> {
      Optional<LedgerFile.Entry> place = place(machine, instance);
      if (place.isEmpty()) {
        return false;
      }
      boolean runs = machine.vm().programs().runs(place.get().inner());
      if (!runs && !machine.vm().exited()) {
        Place.again(machine, place.get()).close();
      }
      return runs;
    });
  }

  @Override
  public void goOn(Survivor instance) {
    Machine machine = machine(instance);
    var _ =
        reaching(() -> {
          place(machine, instance)
              .ifPresent(
                  place -> machine.vm().tell(agent -> agent.signal(place.inner(), Signals.CONT)));
          return true;
        });
  }

  /// The machine and whoever else is in it go on.
  @Override
  public void end(Survivor instance) {
    Machine machine = machine(instance);
    var _ =
        reaching(() -> {
          place(machine, instance)
              .ifPresent(place -> {
                machine.vm().programs().end(place.inner());
                Place.again(machine, place).close();
              });
          return true;
        });
  }

  private static Optional<LedgerFile.Entry> place(Machine machine, Survivor instance) {
    return machine.ledger().find(instance.files(), instance.generation());
  }

  private static <T> T reaching(Supplier<T> work) {
    try {
      return work.get();
    } catch (TroubleException e) {
      throw Problem.GUEST_STATE.because(e.getMessage() + ".", e);
    }
  }

  /// The machine whose hardware is the process of `instance`.
  private Machine machine(Survivor instance) {
    return machines
        .flatMap(all -> all.ofProcess(instance.pid()))
        .orElseThrow(() ->
            Problem.GUEST_STATE.because(
                "The machine of process " + instance.pid() + " has not been reattached."));
  }
}
