package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Consumer;

/// How containers and their files are removed: nothing else removes files. Thread-safe.
final class Removals {
  private final ContainerRegistry all;
  private final Endings endings;
  private final Restarts restarts;
  private final Volumes volumes;
  private final Consumer<String> gone;
  private final Consumer<String> told;

  /// @param gone told of the name of each that was removed; must not throw
  /// @param told a sentence for what of a volume is not as it should be
  Removals(
      ContainerRegistry all,
      Endings endings,
      Restarts restarts,
      Volumes volumes,
      Consumer<String> gone,
      Consumer<String> told) {
    this.all = all;
    this.endings = endings;
    this.restarts = restarts;
    this.volumes = volumes;
    this.gone = gone;
    this.told = told;
  }

  /// Removes a container and its files, or files that nobody knows. See [Systems#remove].
  void remove(String name, boolean force) {
    endings.settle(name);
    Optional<Container> running = all.find(name).filter(container -> !container.state().hasEnded());
    if (running.isPresent()) {
      if (!force) {
        throw Problem.CONTAINER_STATE.because(name + " runs.");
      }
      endings.stop(name, Duration.ZERO, Life::toldToStop);
    }
    // It may have ended since it was looked at.
    endings.settle(name);
    if (all.lives().find(name).isPresent()) {
      removeEnded(name);
    } else {
      removeLeftOver(name);
    }
  }

  private void removeEnded(String name) {
    var _ = all.begin(name);
    try {
      restarts.forget(name);
      discard(name);
      all.lives().forget(name);
      gone.accept(name);
      all.release(name);
    } finally {
      all.done(name);
    }
  }

  private void removeLeftOver(String name) {
    if (!GuestSpec.isName(name) || !all.claim(name)) {
      throw all.unknown(name);
    }
    try {
      if (!all.hasFiles(name)) {
        throw all.unknown(name);
      }
      discard(name);
    } finally {
      all.release(name);
    }
  }

  /// Removes a container's files, and leaves its volumes.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void discard(String name) {
    ContainerFolder files = all.folderOf(name);
    volumes.release(name, files, told);
    files.delete();
  }
}
