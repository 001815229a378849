package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.vm.VmHardware;
import dev.hyperfresh.vm.VmReleases;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/// The machines of a daemon, and the guests in them: made, replaced and ended here. Thread-safe.
public final class MachineRoom implements VmLife {
  private final Machines machines;
  private final QemuReleases processes;
  private final Hyperplexor hyperplexor;
  private final VmRoom<Machine, MachineRelease> room;

  MachineRoom(
      Machines machines,
      VmReleases<MachineRelease> releases,
      QemuReleases processes,
      ReleaseLeases leases,
      Hyperplexor hyperplexor,
      KvmProbe.Result kvm) {
    this.machines = machines;
    this.processes = processes;
    this.hyperplexor = hyperplexor;
    this.room =
        new VmRoom<>(
            Machines.ABOUT,
            machines,
            new VmRoom.Tenants<>("guest", machine -> guests(machine.name()), this::isFree),
            releases,
            processes,
            leases,
            hyperplexor,
            accelerator(kvm));
  }

  /// What executes machines on a host.
  ///
  /// @param kvm what `/dev/kvm` was seen to do
  static AcceleratorChoice accelerator(KvmProbe.Result kvm) {
    if (kvm.verdict() != KvmProbe.Verdict.USABLE) {
      return new AcceleratorChoice(Accelerator.TCG, kvm.reason());
    }
    return kvm.nested()
        ? new AcceleratorChoice(Accelerator.KVM, "KVM with nested virtualization")
        : new AcceleratorChoice(
            Accelerator.TCG, "the host's KVM works, but nested virtualization is off");
  }

  /// The installed releases of machines.
  public VmReleases<MachineRelease> releases() {
    return room.releases();
  }

  /// All machines, by name.
  public List<Machine> list() {
    return machines.list();
  }

  /// The machine called `name`.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN]
  public Machine get(String name) {
    return machines.get(name);
  }

  /// Why machines are executed as they are, for people.
  public String acceleratorReason() {
    return room.accelerator().reason();
  }

  /// The names of the guests in a machine.
  public List<String> guests(String machine) {
    return hyperplexor.list().stream()
        .filter(view -> view.release().equals(machine))
        .filter(view -> view.state() != GuestView.State.STOPPED)
        .map(view -> view.spec().name())
        .toList();
  }

  /// Boots a machine.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_START], [Problem#MACHINE_EXISTS],
  ///   [Problem#RELEASE_UNKNOWN], [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY]
  public Machine create(
      String name, String release, int vcpus, long memoryBytes, Progress progress) {
    return room.create(name, release, vcpus, memoryBytes, progress);
  }

  /// Ends a machine without guests.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN]; [Problem#MACHINE_IN_USE] also when a
  ///   guest is on its way in or out
  public void delete(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      machines.delete(name, this::requireFree);
    }
  }

  @Override
  public void stop(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      machines.stop(name, this::requireFree);
    }
  }

  private void requireFree(Machine machine) {
    String name = machine.name();
    List<String> inside = guests(name);
    if (!isFree(machine)) {
      throw Problem.MACHINE_IN_USE.because(
          inside.isEmpty()
              ? "A guest is moving into or out of " + name + "."
              : name + " runs " + String.join(", ", inside) + ".");
    }
  }

  @Override
  public void start(String name, Progress progress) {
    room.start(name, progress);
  }

  @Override
  public void autostart(String name, boolean on) {
    room.autostart(name, on);
  }

  /// From now on machines are started that are to be, since the host has booted.
  void startThemselves(Pace pace) {
    room.startThemselves(pace);
  }

  /// Whether the machine called `name` is stopped, or was given up.
  boolean isStopped(String name) {
    return machines.definitions().isStopped(name);
  }

  /// Whether the machine called `name` is to be started, since the host has booted, and is not up
  /// yet.
  boolean isComing(String name) {
    return machines.definitions().isDue(name);
  }

  /// Whether its end would be the end of no guest. A guest that comes is not listed here before it
  /// runs here.
  private boolean isFree(Machine machine) {
    return machine.ended() || (guests(machine.name()).isEmpty() && !machine.isOccupied());
  }

  /// Releases of machines, for the API.
  ReleaseKind releaseKind() {
    return new VmReleaseKind<>(
        "qemu", releases(), Views::release, room::removeRelease, MachineRoom::howToRunIn);
  }

  private static String howToRunIn(String release) {
    return "'"
        + release
        + "' is not a machine; create one of that release with `hyperfresh machine create NAME"
        + " --release "
        + release
        + "`, or replace one with `hyperfresh replace --machine OLD --to "
        + release
        + "`.";
  }

  /// The machines whose hardware is `release`, a full name.
  List<String> onHardware(String release) {
    return machines.on(release);
  }

  /// What is to be moved where.
  public record Target(List<String> guests, Machine machine) {
    /// Copies the names.
    public Target {
      guests = List.copyOf(guests);
    }
  }

  /// Moves all guests of machine `old` to another machine, which is made for it unless `to` names
  /// one, and ends the old one when it is empty. A machine that was made for it and got no guest is
  /// ended instead.
  ///
  /// @param order the rollout of the guests that it is given, to the machine that it is given
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN], [Problem#MACHINE_ENDED],
  ///   [Problem#MACHINE_START] and whatever keeps the rollout from beginning; the guests are where
  ///   they were then
  public Replaced<ReplacementRecord> replace(
      String old,
      String to,
      Function<Target, Rollout.Result<ReplacementRecord>> order,
      Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      Machine from = machines.get(old);
      if (from.ended()) {
        throw Problem.MACHINE_ENDED.because(old + ": " + words(from));
      }
      return room.replace(
          from, to, target -> rollOut(new Target(guests(old), target), order), progress);
    }
  }

  private static String words(Machine machine) {
    String last = VmHardware.lastWords(machine.files()).strip();
    return last.isEmpty() ? "it left no message." : last;
  }

  /// An order without names would mean every guest of the daemon.
  private static Rollout.Result<ReplacementRecord> rollOut(
      Target what, Function<Target, Rollout.Result<ReplacementRecord>> order) {
    return what.guests().isEmpty()
        ? new Rollout.Result<>(what.machine().name(), true, Optional.empty(), List.of())
        : order.apply(what);
  }

  /// All machines as the API shows them, by name.
  List<Map<String, Object>> views() {
    return room.views().stream().map(this::view).toList();
  }

  @Override
  public Map<String, Object> view(String name) {
    return view(room.view(name));
  }

  private Map<String, Object> view(VmView<MachineRelease> machine) {
    return Views.machine(machine, machines.files(machine.name()));
  }

  /// Takes back the machines of an earlier daemon that run. One that does not answer within
  /// `patience` is taken back when it does.
  void recover(Duration patience, Consumer<String> told) {
    machines.recover(releases()::builtByAny, processes::recorded, patience, told);
  }

  /// Lets go of the machines, which run on.
  void letGo() {
    machines.letGo();
  }

  void close() {
    machines.close();
  }
}
