package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;

/// Work on a container that runs, which nobody else works on meanwhile. Stateless.
final class Held {
  private Held() {}

  /// @param <T> what comes of it
  interface Work<T> {
    T run() throws IOException;
  }

  /// Does some work with the container's lock.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_STATE] when somebody else works on it, or it
  ///   does not run, or the work fails
  static <T> T during(Container container, Work<T> work) {
    if (!container.lock(HealthWatch.patience(container))) {
      throw Problem.CONTAINER_STATE.because(
          container.name() + " is being moved, stopped or used by another command.");
    }
    try {
      if (!(container.state() instanceof ContainerState.Running)) {
        throw Problem.CONTAINER_STATE.because(container.name() + " does not run.");
      }
      return work.run();
    } catch (TroubleException | LinuxException | IOException e) {
      throw Problem.CONTAINER_STATE.because(container.name() + ": " + e.getMessage() + ".", e);
    } finally {
      container.lock().unlock();
    }
  }
}
