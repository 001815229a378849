package dev.hyperfresh.qemu;

import java.util.List;
import java.util.Optional;

/// What the log of a QEMU says of its run states, one line of the trace event for each change: such
/// as `runstate_set current_run_state 7 (inmigrate) new_state 9 (running)`. QEMU writes it before
/// it lets the vCPUs run, and what is written outlives the process.
///
/// A process that waits changes no state, so that its log would say as little as that of a build
/// which cannot trace. The opening of the control channel is therefore traced too.
final class RunStates {
  /// The trace event, which every QEMU since 1.6 has.
  private static final String CHANGE = "runstate_set";

  /// Every QEMU since 2.6 has this one. It happens once for a control channel that listens, at the
  /// start, and never in a switch.
  private static final String START = "qio_channel_socket_new";

  private static final String RUNNING = "(running)";

  private RunStates() {}

  /// The options that have a process write its log.
  static List<String> arguments() {
    return List.of("-trace", "enable=" + CHANGE, "-trace", "enable=" + START);
  }

  /// Whether a process with that log has run its guest.
  ///
  /// @return empty when its run states were not logged
  static Optional<Boolean> hasRun(String log) {
    List<String> traced = log.lines().filter(RunStates::isTrace).toList();
    return traced.isEmpty()
        ? Optional.empty()
        : Optional.of(
            traced.stream()
                .anyMatch(line -> isChange(line) && line.stripTrailing().endsWith(RUNNING)));
  }

  /// The lines in which the process said something of its own.
  static List<String> words(String log) {
    return log.lines().filter(line -> !line.isBlank() && !isTrace(line)).toList();
  }

  private static boolean isTrace(String line) {
    return isChange(line) || line.contains(START + " Socket new ");
  }

  private static boolean isChange(String line) {
    return line.contains(CHANGE + " current_run_state ");
  }
}
