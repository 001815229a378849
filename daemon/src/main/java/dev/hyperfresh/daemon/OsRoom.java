package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.OsReleases;
import dev.hyperfresh.relocation.OsSettings;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Consumer;

/// The operating systems of a daemon, and the containers in them: made, replaced and ended here.
/// Thread-safe.
public final class OsRoom {
  private final Systems systems;
  private final OsReleases releases;
  private final QemuReleases processes;
  private final ReleaseLeases leases;
  private final Hyperplexor hyperplexor;
  private final AcceleratorChoice accelerator;

  OsRoom(
      Systems systems,
      OsReleases releases,
      QemuReleases processes,
      ReleaseLeases leases,
      Hyperplexor hyperplexor,
      AcceleratorChoice accelerator) {
    this.systems = systems;
    this.releases = releases;
    this.processes = processes;
    this.leases = leases;
    this.hyperplexor = hyperplexor;
    this.accelerator = accelerator;
  }

  /// The installed releases of operating systems.
  public OsReleases releases() {
    return releases;
  }

  /// What runs, and what is done with it.
  public Systems systems() {
    return systems;
  }

  /// Why operating systems are executed as they are, for people.
  public String acceleratorReason() {
    return accelerator.reason();
  }

  /// Takes back what an earlier daemon left; see [Systems#recover].
  void recover(Duration patience, Consumer<String> told) {
    systems.recover(releases::builtByAny, processes::get, patience, told);
  }

  /// Boots an OS.
  ///
  /// @throws HyperFreshException [Problem#OS_START], [Problem#OS_EXISTS],
  ///   [Problem#RELEASE_UNKNOWN], [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY]
  public OsVm create(String name, String release, int vcpus, long memoryBytes, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return boot(name, release, vcpus, memoryBytes, progress);
    }
  }

  private OsVm boot(String name, String release, int vcpus, long memoryBytes, Progress progress) {
    if (name.startsWith(OsRelease.KIND + "-")) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + name + "' begins like a release; an OS stands where a release stands");
    }
    try (ReleaseLeases.Lease<QemuRelease> hardware =
            leases.hold(this::hardware, QemuRelease::name);
        ReleaseLeases.Lease<OsRelease> inside =
            leases.hold(() -> releases.get(release), OsRelease::name)) {
      return boot(name, inside.release(), hardware.release(), vcpus, memoryBytes, progress);
    }
  }

  private OsVm boot(
      String name,
      OsRelease release,
      QemuRelease hardware,
      int vcpus,
      long memoryBytes,
      Progress progress) {
    progress.step(
        "create",
        "booting "
            + release.name()
            + " on "
            + hardware.name()
            + " ("
            + accelerator.accelerator().label()
            + ": "
            + accelerator.reason()
            + ")");
    OsVm os =
        systems.create(
            new OsSettings(name, release, hardware, accelerator.accelerator(), vcpus, memoryBytes));
    progress.step(
        "create", String.format(Locale.ROOT, "%s is up after %.1f s", name, os.bootMs() / 1000));
    return os;
  }

  private QemuRelease hardware() {
    return MachineRoom.newestHardware(processes)
        .orElseThrow(() ->
            Problem.OS_START.because(
                "An OS needs a QEMU of this host as its hardware, 10.0 or newer: `hyperfresh"
                    + " release fetch qemu-10.0`."));
  }

  /// Ends an OS without containers.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_IN_USE]
  public void delete(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.delete(name);
    }
  }

  /// Starts a container; see [Systems#run].
  public Container run(ContainerSpec spec, String os, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.run(spec, os, progress);
    }
  }

  /// Ends a container; see [Systems#stop].
  public void stop(String name, Duration patience) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.stop(name, patience);
    }
  }

  /// Moves a container; see [Systems#relocate].
  public RelocationRecord relocate(String name, String to, Transport transport, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.relocate(name, to, transport, progress);
    }
  }

  /// How an OS was replaced.
  ///
  /// @param target the OS to which containers were moved
  /// @param retired whether the old OS is gone
  /// @param moves one for each container
  public record Replaced(String target, boolean retired, List<RelocationRecord> moves) {
    /// Copies the list.
    public Replaced {
      moves = List.copyOf(moves);
    }
  }

  /// Moves all containers of an OS to another one, which is booted for it unless `to` names one,
  /// and ends the old one when it is empty.
  ///
  /// @param parallel how many containers at a time
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_START],
  ///   [Problem#RELEASE_UNKNOWN]; the containers are where they were then
  public Replaced replace(String old, String to, int parallel, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      OsVm from = systems.get(old);
      Optional<OsVm> there = systems.find(to);
      if (there.filter(from::equals).isPresent()) {
        throw Problem.API_REQUEST.because("An OS cannot be replaced by itself.");
      }
      OsVm target = there.orElseGet(() -> successor(from, to, progress));
      List<RelocationRecord> moves = systems.relocateAll(old, target.name(), parallel, progress);
      boolean retired = moves.stream().allMatch(move -> move.outcome().equals("committed"));
      if (retired) {
        progress.step("retire", old + " is empty and is ended");
        systems.delete(old);
      } else if (there.isEmpty()
          && systems.containers().stream().noneMatch(c -> c.os().equals(target))) {
        progress.step("retire", target.name() + " got no container and is ended");
        systems.delete(target.name());
      }
      return new Replaced(target.name(), retired, moves);
    }
  }

  private OsVm successor(OsVm old, String release, Progress progress) {
    OsSettings settings = old.settings();
    String name = Successor.of(old.name(), taken -> systems.find(taken).isPresent());
    progress.step("create", name + " is to follow " + old.name());
    return boot(name, release, settings.vcpus(), settings.memoryBytes(), progress);
  }

  /// Removes a release that no OS runs.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE], [Problem#RELEASE_UNKNOWN]
  public void removeRelease(String name) {
    String full = releases.get(name).name();
    List<String> users =
        systems.list().stream()
            .filter(os -> os.settings().release().name().equals(full))
            .map(OsVm::name)
            .toList();
    if (!users.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(full + " runs in " + String.join(", ", users) + ".");
    }
    releases.remove(full);
  }

  /// The operating systems whose hardware is `release`, a full name.
  List<String> onHardware(String release) {
    return systems.list().stream()
        .filter(os -> os.settings().hardware().name().equals(release))
        .map(OsVm::name)
        .toList();
  }
}
