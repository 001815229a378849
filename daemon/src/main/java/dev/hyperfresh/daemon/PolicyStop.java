package dev.hyperfresh.daemon;

import dev.hyperfresh.vm.StateFile;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// A failure at which a run of the policy stopped, or that a run has not ended. A file in the state
/// directory keeps it until somebody has looked: the next run must not move other guests to a build
/// on which one failed. Immutable.
///
/// @param builds to which it was moving guests, as people call them
/// @param why it stopped; of a run that was interrupted, why an earlier one had, or empty
/// @param asked of a run that was interrupted, the guests that it had asked the daemon to move,
///   each with the replacements that it had had before; the history says how those after them went.
///   Empty for any other run
public record PolicyStop(
    Instant at, List<String> builds, String why, Map<String, List<String>> asked) {
  private static final String FILE = "policy-stopped.json";
  private static final int LONGEST_REASON = 1000;

  /// Copies builds and guests, and cuts a reason that is very long.
  public PolicyStop {
    builds = List.copyOf(builds);
    why = why.length() > LONGEST_REASON ? why.substring(0, LONGEST_REASON) + "…" : why;
    asked = Map.copyOf(asked);
  }

  /// One that is not known better from anywhere.
  public PolicyStop(Instant at, List<String> builds, String why) {
    this(at, builds, why, Map.of());
  }

  /// Whether its run was ended in order, as by a shutdown of the host, so that the history can say
  /// how its moves went.
  public boolean wasInterrupted() {
    return !asked.isEmpty();
  }

  /// Why it holds the next run, as people are told.
  public String words() {
    return wasInterrupted() && why.isEmpty()
        ? "Its last run was interrupted; the next one looks in the history how its moves went."
        : why;
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
