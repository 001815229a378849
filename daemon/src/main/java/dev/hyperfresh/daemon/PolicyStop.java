package dev.hyperfresh.daemon;

import dev.hyperfresh.vm.StateFile;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/// A failure at which a run of the policy stopped. A file in the state directory keeps it until
/// somebody has looked: the next run must not move other guests to a build on which one failed.
/// Immutable.
///
/// @param builds to which it was moving guests, as people call them
/// @param why it stopped
public record PolicyStop(Instant at, List<String> builds, String why) {
  private static final String FILE = "policy-stopped.json";
  private static final int LONGEST_REASON = 1000;

  /// Copies the builds, and cuts a reason that is very long.
  public PolicyStop {
    builds = List.copyOf(builds);
    why = why.length() > LONGEST_REASON ? why.substring(0, LONGEST_REASON) + "…" : why;
  }

  /// What is kept in a state directory.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException
  ///   [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE] when it cannot be read: then nobody knows
  ///   that nothing failed
  public static Optional<PolicyStop> read(Path state) {
    return StateFile.readWithSum(state.resolve(FILE), PolicyStop.class);
  }

  /// Keeps this one in the place of another, also when the host loses its power at once.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException
  ///   [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  public void keep(Path state) {
    StateFile.keep(state.resolve(FILE), this);
  }

  /// Forgets what is kept, if anything is.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException
  ///   [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  public static void forget(Path state) {
    StateFile.forget(state.resolve(FILE));
  }
}
