package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// How containers start: the first time, when they are made, and again with their files when they
/// have ended. It decides whether and where, and what a container is when that does not come off;
/// [ContainerStart] does it. Thread-safe.
///
/// @param all which there are; a name is in use before anything is made
/// @param hosts where they may start
/// @param occupancy in which each has a place in its OS until it runs
/// @param volumes of which those that are made claim theirs
/// @param endings which clear up one that has ended before it starts again
/// @param restarts which let those be that somebody starts
/// @param removals which remove the files of one that did not start the first time
/// @param runs told of each that runs
record Starts(
    ContainerRegistry all,
    Hosts hosts,
    Occupancy occupancy,
    Volumes volumes,
    ContainerStart starting,
    Endings endings,
    Restarts restarts,
    Removals removals,
    Consumer<Container> runs) {
  /// Makes a container and starts it. See [Systems#run].
  ///
  /// @param files gives what it is made of, when its name is known to be free
  Container run(
      ContainerSpec spec,
      Supplier<Bundle> files,
      RestartPolicy restart,
      String os,
      Progress progress) {
    List<String> faults = spec.faults();
    if (!faults.isEmpty()) {
      throw Problem.CONTAINER_SPEC.because(String.join("; ", faults));
    }
    OsVm where = hosts.get(os);
    String name = spec.name();
    if (!all.claim(name)) {
      throw Problem.CONTAINER_EXISTS.because(
          all.known(name)
              .flatMap(Life::end)
              .map(end -> name + " has ended (" + end.how() + "), and its files are kept.")
              .orElse("Container " + name + " exists already."));
    }
    boolean made = false;
    try (Occupancy.Place _ = occupancy.take(os, name + " is starting", () -> all.inside(os))) {
      if (all.hasFiles(name)) {
        throw Problem.CONTAINER_EXISTS.because(
            "There are files of a container " + name + " that is no longer known.");
      }
      Container container = first(spec, files, restart, where, progress);
      runs.accept(container);
      made = true;
      return container;
    } finally {
      if (!made && all.find(name).isEmpty()) {
        all.release(name);
      }
    }
  }

  private Container first(
      ContainerSpec spec,
      Supplier<Bundle> files,
      RestartPolicy restart,
      OsVm os,
      Progress progress) {
    try (Volumes.Claim claim = volumes.claim(spec, all.folderOf(spec.name()))) {
      Bundle bundle = files.get();
      bundle.require(spec.volumes());
      bundle.remarks().forEach(remark -> progress.step("remark", remark));
      Container container = first(spec, bundle, claim, restart, os, progress);
      claim.keep();
      return container;
    }
  }

  private Container first(
      ContainerSpec spec,
      Bundle bundle,
      Volumes.Claim claim,
      RestartPolicy restart,
      OsVm os,
      Progress progress) {
    try {
      progress.step("create", "copying " + bundle.root());
      starting.fill(spec, bundle, claim);
      all.lives().put(Life.begun(spec, os.name(), restart, Instant.now()));
      // One of the same name may have left something.
      new Inside(os, spec).clear();
      return starting.launch(
          spec,
          os,
          progress,
          left ->
              endings.left(left, ContainerState.Ended.unknown(Instant.now(), "it did not start")));
    } catch (TroubleException | LinuxException | IOException | HyperFreshException e) {
      if (os.vm().released() || all.find(spec.name()).isPresent()) {
        // The next daemon decides, or the OS has something of it and it is listed as ended.
        claim.keep();
      } else {
        removals.discard(spec.name());
        all.lives().forget(spec.name());
      }
      throw Problem.CONTAINER_START.because(spec.name() + ": " + e.getMessage() + ".", e);
    }
  }

  /// Starts one that has ended, because somebody asks for it. See [Systems#start].
  Container start(String name, Optional<String> os, Progress progress) {
    Life before = endings.begin(name);
    restarts.forget(name);
    try {
      all.lives().change(name, known -> known.again(false));
      return again(before, os.map(hosts::get), progress);
    } finally {
      all.done(name);
      restarts.consider(name);
    }
  }

  /// Starts one that has ended, because its policy says so.
  ///
  /// @throws HyperFreshException as [Systems#start]
  void restart(String name) {
    Life before = endings.begin(name);
    try {
      // From here on nobody can stop it, but somebody may have before.
      if (before.isToStay(Host.bootId())) {
        throw Problem.CONTAINER_STATE.because(name + " is stopped.");
      }
      var _ = again(before, Optional.empty(), Progress.NONE);
    } finally {
      all.done(name);
    }
  }

  private Container again(Life before, Optional<OsVm> os, Progress progress) {
    String name = before.name();
    OsVm where = os.orElseGet(() -> new NextOs(hosts).of(before));
    try (Occupancy.Place _ =
        occupancy.take(where.name(), name + " is starting", () -> all.inside(where.name()))) {
      Life begun = all.lives().find(name).orElse(before);
      all.lives().put(begun.runs(where.name(), Instant.now()));
      try {
        // What an earlier end may have left.
        new Inside(where, before.spec()).clear();
        Container container =
            starting.launch(
                before.spec(),
                where,
                progress,
                left -> endings.left(left, before.end().orElseThrow()));
        runs.accept(container);
        return container;
      } catch (TroubleException | LinuxException | HyperFreshException e) {
        // What its OS has not let go of ends when that does, as it had ended before.
        if (!where.vm().released() && all.find(name).isEmpty()) {
          all.lives().note(name, _ -> before);
        }
        throw Problem.CONTAINER_START.because(name + ": " + e.getMessage() + ".", e);
      }
    }
  }
}
