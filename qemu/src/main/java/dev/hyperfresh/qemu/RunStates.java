package dev.hyperfresh.qemu;

import java.util.List;
import java.util.Optional;

/// What the log of a QEMU says of its run states, one line of the trace event for each change: such
/// as `runstate_set current_run_state 7 (inmigrate) new_state 9 (running)`. QEMU writes it before
/// it lets the vCPUs run, and what is written outlives the process.
final class RunStates {
  /// The trace event, which every QEMU since 1.6 has.
  static final String EVENT = "runstate_set";

  private static final String RUNNING = "(running)";

  private RunStates() {}

  /// Whether a process with that log has run its guest.
  ///
  /// @return empty when its run states were not logged
  static Optional<Boolean> hasRun(String log) {
    List<String> changes = log.lines().filter(RunStates::isChange).toList();
    return changes.isEmpty()
        ? Optional.empty()
        : Optional.of(changes.stream().anyMatch(line -> line.stripTrailing().endsWith(RUNNING)));
  }

  /// The lines in which the process said something of its own.
  static List<String> words(String log) {
    return log.lines().filter(line -> !line.isBlank() && !isChange(line)).toList();
  }

  private static boolean isChange(String line) {
    return line.contains(EVENT + " current_run_state ");
  }
}
