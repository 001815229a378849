package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.relocation.ContainerRollout;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.OsReleases;
import dev.hyperfresh.relocation.OsSettings;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.RestartPolicy;
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

  /// Makes a container and starts it; see [Systems#run].
  public ContainerView run(
      ContainerSpec spec, RestartPolicy restart, String os, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.view(systems.run(spec, restart, os, progress).name());
    }
  }

  /// Starts a container that has ended; see [Systems#start].
  public ContainerView start(String name, Optional<String> os, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.view(systems.start(name, os, progress).name());
    }
  }

  /// Removes a container and its files; see [Systems#remove].
  public void remove(String name, boolean force) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.remove(name, force);
    }
  }

  /// Starts a container of an image; see [Systems#runImage].
  public ContainerView runImage(
      ContainerSpec spec, RestartPolicy restart, String os, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.view(systems.runImage(spec, restart, os, progress).name());
    }
  }

  /// Ends a container; see [Systems#stop].
  public void stop(String name, Duration patience) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.stop(name, patience);
    }
  }

  /// Has a container go on that stands in doubt; see [Systems#resume].
  public void resume(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.resume(name);
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
  /// @param rollout of its containers
  /// @param target the OS to which containers were moved
  /// @param retired whether the old OS is gone
  /// @param withdrawn whether the new OS is gone, because no container came
  public record Replaced(
      Rollout.Result<RelocationRecord> rollout,
      String target,
      boolean retired,
      boolean withdrawn) {}

  /// What moving all containers of an OS to another one that is there would come to. Touches
  /// nothing.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN]
  public Rollout.Result<RelocationRecord> planReplace(String old, String to) {
    return new Rollout<>(
            new ContainerRollout(systems, old, to), Rollout.ONE_BY_ONE, Rollout.Audience.NONE)
        .plan();
  }

  /// Moves all containers of an OS to another one, which is booted for it unless `to` names one,
  /// and ends the old one when none runs in it any more. An OS that was booted for it and got no
  /// container is ended instead. Containers that have ended are left alone.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_START],
  ///   [Problem#RELEASE_UNKNOWN], [Problem#API_REQUEST]; the containers are where they were then
  public Replaced replace(String old, String to, Rollout.Pace pace, Rollout.Audience audience) {
    Progress progress =
        (state, text) -> {
          var _ = audience.told("", state, text);
        };
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      OsVm from = systems.get(old);
      Optional<OsVm> there = systems.find(to);
      if (there.filter(from::equals).isPresent()) {
        throw Problem.API_REQUEST.because("An OS cannot be replaced by itself.");
      }
      if (!pace.faults().isEmpty()) {
        throw Problem.API_REQUEST.because(String.join("; ", pace.faults()) + ".");
      }
      OsVm target = there.orElseGet(() -> successor(from, to, progress));
      Rollout.Result<RelocationRecord> result;
      try {
        result =
            new Rollout<>(new ContainerRollout(systems, old, target.name()), pace, audience).run();
      } catch (RuntimeException e) {
        if (there.isEmpty()) {
          withdraw(target, progress);
        }
        throw e;
      }
      boolean retired = retire(from, progress);
      if (retired) {
        // What has ended is started in the new one the next time.
        systems.follow(old, target.name());
      }
      return new Replaced(
          result,
          target.name(),
          retired,
          !retired && there.isEmpty() && withdraw(target, progress));
    }
  }

  private boolean retire(OsVm old, Progress progress) {
    List<String> left = running(old);
    if (!left.isEmpty()) {
      progress.step("retire", old.name() + " stays, with " + String.join(", ", left));
      return false;
    }
    progress.step("retire", old.name() + " is empty and is ended");
    return ended(old, progress);
  }

  private boolean withdraw(OsVm made, Progress progress) {
    List<String> inside = running(made);
    if (!inside.isEmpty()) {
      progress.step("retire", made.name() + " stays, with " + String.join(", ", inside));
      return false;
    }
    progress.step("retire", made.name() + " got no container and is ended");
    return ended(made, progress);
  }

  /// Whether it could be ended: somebody may have come meanwhile.
  private boolean ended(OsVm os, Progress progress) {
    try {
      systems.delete(os.name());
      return true;
    } catch (HyperFreshException e) {
      progress.step("retire", os.name() + " stays: " + e.detail());
      return false;
    }
  }

  private List<String> running(OsVm os) {
    return systems.containers().stream()
        .filter(container -> container.os().equals(os) && !container.state().hasEnded())
        .map(container -> container.name())
        .toList();
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
    List<String> users = systems.on(full);
    if (!users.isEmpty()) {
      throw Problem.RELEASE_IN_USE.because(full + " runs in " + String.join(", ", users) + ".");
    }
    releases.remove(full);
  }

  /// The operating systems whose hardware is `release`, a full name.
  List<String> onHardware(String release) {
    return systems.on(release);
  }
}
