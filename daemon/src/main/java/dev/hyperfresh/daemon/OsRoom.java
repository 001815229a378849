package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Pace;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.relocation.ContainerRollout;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerView;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.RestartPolicy;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmReleases;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/// The operating systems of a daemon, and the containers in them: made, replaced and ended here.
/// Thread-safe.
public final class OsRoom implements VmLife {
  private final Systems systems;
  private final QemuReleases processes;
  private final Hyperplexor hyperplexor;
  private final VmRoom<OsVm, OsRelease> room;

  OsRoom(
      Systems systems,
      VmReleases<OsRelease> releases,
      QemuReleases processes,
      ReleaseLeases leases,
      Hyperplexor hyperplexor,
      AcceleratorChoice accelerator) {
    this.systems = systems;
    this.processes = processes;
    this.hyperplexor = hyperplexor;
    this.room =
        new VmRoom<>(
            Systems.ABOUT,
            systems,
            new VmRoom.Tenants<>("container", this::running, os -> running(os).isEmpty()),
            releases,
            processes,
            leases,
            hyperplexor,
            accelerator);
  }

  private List<String> running(OsVm os) {
    return systems.containers().stream()
        .filter(container -> container.os().equals(os) && !container.state().hasEnded())
        .map(container -> container.name())
        .toList();
  }

  /// The installed releases of operating systems.
  public VmReleases<OsRelease> releases() {
    return room.releases();
  }

  /// What runs, and what is done with it.
  public Systems systems() {
    return systems;
  }

  /// Takes back what an earlier daemon left; see [Systems#recover].
  void recover(Duration patience, Consumer<String> told) {
    systems.recover(releases()::builtByAny, processes::recorded, patience, told);
  }

  /// Boots an OS.
  ///
  /// @throws HyperFreshException [Problem#OS_START], [Problem#OS_EXISTS],
  ///   [Problem#RELEASE_UNKNOWN], [Problem#SPEC_INVALID], [Problem#SPEC_MEMORY]
  public OsVm create(String name, String release, int vcpus, long memoryBytes, Progress progress) {
    return room.create(name, release, vcpus, memoryBytes, progress);
  }

  /// All operating systems as the API shows them, by name.
  List<Map<String, Object>> views() {
    return room.views().stream().map(Views::os).toList();
  }

  @Override
  public Map<String, Object> view(String name) {
    return Views.os(room.view(name));
  }

  /// From now on operating systems are started that are to be, since the host has booted.
  void startThemselves(Pace pace) {
    room.startThemselves(pace);
  }

  @Override
  public void start(String name, Progress progress) {
    room.start(name, progress);
  }

  @Override
  public void stop(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.stop(name);
    }
  }

  @Override
  public void autostart(String name, boolean on) {
    room.autostart(name, on);
  }

  /// Ends an OS without containers.
  ///
  /// @throws HyperFreshException [Problem#OS_UNKNOWN], [Problem#OS_IN_USE]
  public void delete(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.delete(name);
    }
  }

  /// Ends an OS with everything in it; see [Systems#kill].
  public void kill(String name) {
    // A move that waits for it is work in flight, and must not keep it from being ended.
    systems.kill(name);
  }

  /// Makes a container and starts it; see [Systems#run].
  public ContainerView run(
      ContainerSpec spec, RestartPolicy restart, String os, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.view(systems.run(spec, restart, os, progress).name());
    }
  }

  /// Starts a container that has ended; see [Systems#start(String, Optional, Progress)].
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

  /// Ends a container; see [Systems#stop(String, Duration)].
  public void stop(String name, Duration patience) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.stop(name, patience);
    }
  }

  /// Ends a container because the host stops; see [Systems#stopUntilBoot].
  public void stopUntilBoot(String name, Duration patience) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.stopUntilBoot(name, patience);
    }
  }

  /// Has a container go on that stands in doubt; see [Systems#resume].
  public void resume(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.resume(name);
    }
  }

  /// Moves a container; see [Systems#relocate].
  public RelocationRecord relocate(
      String name, String to, Transport transport, boolean checked, Progress progress) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      return systems.relocate(name, to, transport, checked, progress);
    }
  }

  /// Makes an empty volume; see [Systems#createVolume].
  void createVolume(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.createVolume(name);
    }
  }

  /// Removes a volume; see [Systems#removeVolume].
  void removeVolume(String name) {
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      systems.removeVolume(name);
    }
  }

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
  public Replaced<RelocationRecord> replace(
      String old, String to, Rollout.Pace pace, Rollout.Audience audience) {
    if (!pace.faults().isEmpty()) {
      throw Problem.API_REQUEST.because(String.join("; ", pace.faults()) + ".");
    }
    try (Hyperplexor.Work _ = hyperplexor.begin()) {
      Replaced<RelocationRecord> replaced =
          room.replace(
              systems.get(old),
              to,
              target ->
                  new Rollout<>(new ContainerRollout(systems, old, target.name()), pace, audience)
                      .run(),
              (state, text) -> {
                var _ = audience.told("", state, text);
              });
      if (replaced.retired()) {
        // What has ended is started in the new one the next time.
        systems.follow(old, replaced.target());
      }
      return replaced;
    }
  }

  /// Releases of operating systems, for the API.
  ReleaseKind releaseKind() {
    return new VmReleaseKind<>(
        "userland",
        releases(),
        (release, _) -> Views.release(release),
        room::removeRelease,
        OsRoom::howToRunIn);
  }

  private static String howToRunIn(String release) {
    return "'"
        + release
        + "' is a release of operating systems, which run containers, not guests; boot one with"
        + " `hyperfresh os create NAME --release "
        + release
        + "`.";
  }

  /// The operating systems whose hardware is `release`, a full name.
  List<String> onHardware(String release) {
    return systems.on(release);
  }
}
