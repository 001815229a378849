package dev.hyperfresh.relocation;

import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;

/// A container as it is seen from outside: one that runs, or one that has ended and not been
/// removed. Immutable.
///
/// @param os where it runs, or ran last
/// @param kernel the kernel version there, if that OS is here
/// @param pid of its first process there; 0 when it has ended
/// @param log what it has written, on this host
/// @param restart whether it is started again when it ends
/// @param restarts how often it was, without having run well
/// @param nextStart when it is started again, if it is
/// @param failure why it could not be started again the last time, or empty
/// @param health whether it works, if it runs and has a [HealthCheck]
public record ContainerView(
    ContainerSpec spec,
    ContainerState state,
    String os,
    Optional<String> kernel,
    int pid,
    Path log,
    RestartPolicy restart,
    int restarts,
    Optional<Instant> nextStart,
    String failure,
    Optional<Health> health) {

  /// Its name.
  public String name() {
    return spec.name();
  }
}
