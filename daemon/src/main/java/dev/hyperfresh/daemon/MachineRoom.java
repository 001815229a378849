package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.machine.MachineRelease;
import dev.hyperfresh.machine.MachineReleases;
import dev.hyperfresh.machine.MachineSettings;
import dev.hyperfresh.machine.Machines;
import dev.hyperfresh.machine.VirtualMachine;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;

/// The machines of a daemon, and the guests in them: made, replaced and ended here. Thread-safe.
public final class MachineRoom {
  /// The first QEMU whose translator runs the KVM of a machine, and which has all that a machine's
  /// ports need.
  private static final int OLDEST_HARDWARE = 10;

  private final Machines machines;
  private final MachineReleases releases;
  private final QemuReleases processes;
  private final ReleaseLeases leases;
  private final Hyperplexor hyperplexor;
  private final AcceleratorChoice accelerator;

  MachineRoom(
      Machines machines,
      MachineReleases releases,
      QemuReleases processes,
      ReleaseLeases leases,
      Hyperplexor hyperplexor,
      KvmProbe.Result kvm) {
    this.machines = machines;
    this.releases = releases;
    this.processes = processes;
    this.leases = leases;
    this.hyperplexor = hyperplexor;
    this.accelerator = accelerator(kvm);
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
  public MachineReleases releases() {
    return releases;
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
    return accelerator.reason();
  }

  /// What `name` means where a guest is to run: a machine, or a release of processes.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], also for a release of machines, since
  ///   guests run in machines and not on their releases
  public Release whereToRun(String name) {
    if (machines.find(name).isPresent()) {
      return machines.get(name);
    }
    if (name.startsWith(MachineRelease.KIND + "-")) {
      throw Problem.RELEASE_UNKNOWN.because(
          "'"
              + name
              + "' is no machine; make one of that release with `hyperfresh machine create NAME"
              + " --release "
              + name
              + "`, or replace one with `hyperfresh replace --machine OLD --to "
              + name
              + "`.");
    }
    if (!machines.list().isEmpty() && !name.startsWith("qemu-")) {
      throw Problem.RELEASE_UNKNOWN.because(
          "'"
              + name
              + "' is neither a machine nor an installed release; machines: "
              + String.join(", ", machines.list().stream().map(Machine::name).toList())
              + "; releases: "
              + String.join(", ", processes.list().stream().map(QemuRelease::name).toList())
              + ".");
    }
    return processes.get(name);
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
    // A newer daemon must find the machine whole or not at all.
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return boot(name, release, vcpus, memoryBytes, progress);
    }
  }

  private Machine boot(
      String name, String release, int vcpus, long memoryBytes, Progress progress) {
    if (name.startsWith("qemu-") || name.startsWith(MachineRelease.KIND + "-")) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + name + "' begins like a release; a machine stands where a release stands");
    }
    try (ReleaseLeases.Lease<QemuRelease> hardware =
            leases.hold(this::hardware, QemuRelease::name);
        ReleaseLeases.Lease<MachineRelease> inside =
            leases.hold(() -> releases.get(release), MachineRelease::name)) {
      return boot(name, inside.release(), hardware.release(), vcpus, memoryBytes, progress);
    }
  }

  private Machine boot(
      String name,
      MachineRelease inside,
      QemuRelease hardware,
      int vcpus,
      long memoryBytes,
      Progress progress) {
    progress.step(
        "create",
        "booting "
            + inside.name()
            + " on "
            + hardware.name()
            + " ("
            + accelerator.accelerator().label()
            + ": "
            + accelerator.reason()
            + ")");
    Machine machine =
        machines.create(
            new MachineSettings(
                name, inside, hardware, accelerator.accelerator(), vcpus, memoryBytes));
    progress.step(
        "create",
        String.format(
            Locale.ROOT,
            "%s is up after %.1f s, with %d MiB free",
            name,
            machine.bootMs() / 1000,
            machine.hello().memoryFreeKib() >> 10));
    if (machine.settings().vcpus() < vcpus) {
      progress.step("create", name + " has 1 vCPU, as every machine that is translated");
    }
    return machine;
  }

  private QemuRelease hardware() {
    return newestHardware(processes)
        .orElseThrow(() ->
            Problem.MACHINE_START.because(
                "A machine needs a QEMU of this host as its hardware, 10.0 or newer: `hyperfresh"
                    + " release fetch qemu-10.0`."));
  }

  /// The newest QEMU that can be the hardware of a virtual machine of ours.
  static Optional<QemuRelease> newestHardware(QemuReleases processes) {
    return processes.list().reversed().stream()
        .filter(
            release -> Integer.parseInt(release.version().split("\\.", 2)[0]) >= OLDEST_HARDWARE)
        .findFirst();
  }

  /// Ends a machine without guests.
  ///
  /// @throws HyperFreshException [Problem#MACHINE_UNKNOWN]; [Problem#MACHINE_IN_USE] also when a
  ///   guest is on its way in or out
  public void delete(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      Machine machine = machines.get(name);
      List<String> inside = guests(name);
      if (!isFree(machine)) {
        throw Problem.MACHINE_IN_USE.because(
            inside.isEmpty()
                ? "A guest is on its way into " + name + " or out of it."
                : name + " runs " + String.join(", ", inside) + ".");
      }
      machines.delete(name);
    }
  }

  /// Whether its end would be the end of no guest. A guest that comes is not listed here before it
  /// runs here.
  private boolean isFree(Machine machine) {
    return machine.ended() || (guests(machine.name()).isEmpty() && !machine.isOccupied());
  }

  /// Removes a release that no machine runs.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE], [Problem#RELEASE_UNKNOWN]
  public void removeRelease(String name) {
    String full = releases.get(name).name();
    List<String> users =
        machines.list().stream()
            .filter(machine -> machine.settings().release().name().equals(full))
            .map(Machine::name)
            .toList();
    if (!users.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(full + " runs in " + String.join(", ", users) + ".");
    }
    releases.remove(full);
  }

  /// The machines whose hardware is `release`, a full name.
  List<String> onHardware(String release) {
    return machines.list().stream()
        .filter(machine -> machine.settings().hardware().name().equals(release))
        .map(Machine::name)
        .toList();
  }

  /// How a machine was replaced.
  ///
  /// @param target the machine to which guests were moved
  /// @param retired whether the old machine is gone
  /// @param withdrawn whether the new machine is gone, because no guest came
  public record Replaced(
      Rollout.Result<ReplacementRecord> rollout,
      String target,
      boolean retired,
      boolean withdrawn) {}

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
  public Replaced replace(
      String old,
      String to,
      Function<Target, Rollout.Result<ReplacementRecord>> order,
      Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      Machine from = machines.get(old);
      if (from.ended()) {
        throw Problem.MACHINE_ENDED.because(old + ": " + words(from));
      }
      Optional<Machine> there = machines.find(to);
      if (there.filter(from::equals).isPresent()) {
        throw Problem.API_REQUEST.because("A machine cannot be replaced by itself.");
      }
      Machine target = there.orElseGet(() -> successor(from, to, progress));
      Rollout.Result<ReplacementRecord> result;
      try {
        result = rollOut(new Target(guests(old), target), order);
      } catch (RuntimeException e) {
        if (there.isEmpty()) {
          withdraw(target, progress);
        }
        throw e;
      }
      boolean retired = retire(from, progress);
      return new Replaced(
          result,
          target.name(),
          retired,
          !retired && there.isEmpty() && withdraw(target, progress));
    }
  }

  private static String words(Machine machine) {
    String last = VirtualMachine.lastWords(machine.files()).strip();
    return last.isEmpty() ? "it left no word." : last;
  }

  /// An order without names would mean every guest of the daemon.
  private static Rollout.Result<ReplacementRecord> rollOut(
      Target what, Function<Target, Rollout.Result<ReplacementRecord>> order) {
    return what.guests().isEmpty()
        ? new Rollout.Result<>(what.machine().name(), true, Optional.empty(), List.of())
        : order.apply(what);
  }

  private Machine successor(Machine old, String release, Progress progress) {
    MachineSettings settings = old.settings();
    String name = Successor.of(old.name(), taken -> machines.find(taken).isPresent());
    progress.step("create", name + " is to follow " + old.name());
    return boot(name, release, settings.vcpus(), settings.memoryBytes(), progress);
  }

  private boolean retire(Machine old, Progress progress) {
    if (!isFree(old)) {
      List<String> left = guests(old.name());
      progress.step(
          "retire",
          old.name()
              + " stays, with "
              + (left.isEmpty() ? "what is left of a guest" : String.join(", ", left)));
      return false;
    }
    progress.step("retire", old.name() + " is empty and is ended");
    machines.delete(old.name());
    return true;
  }

  private boolean withdraw(Machine made, Progress progress) {
    if (!isFree(made)) {
      progress.step(
          "retire", made.name() + " stays, with " + String.join(", ", guests(made.name())));
      return false;
    }
    progress.step("retire", made.name() + " got no guest and is ended");
    machines.delete(made.name());
    return true;
  }

  /// A machine as the API shows it.
  Map<String, Object> view(Machine machine) {
    return Views.machine(machine, accelerator.reason(), guests(machine.name()));
  }

  /// Takes back the machines of an earlier daemon that run. One that does not answer within
  /// `patience` is taken back when it does.
  void recover(Duration patience, Consumer<String> told) {
    machines.recover(releases::builtByAny, processes::get, patience, told);
  }

  /// Lets go of the machines, which run on.
  void letGo() {
    machines.letGo();
  }

  void close() {
    machines.close();
  }
}
