package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.LogFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// QEMU's run states: their names, and what its log says of them, one line of the trace event for
/// each change: such as `runstate_set current_run_state 7 (inmigrate) new_state 9 (running)`. QEMU
/// writes it before it lets the vCPUs run, and what is written outlives the process, though not
/// always the host's loss of power.
///
/// A process that waits changes no state, so that its log would say as little as that of a build
/// which cannot trace. The opening of the control channel is therefore traced too.
final class RunStates {
  /// The trace event, which every QEMU since 1.6 has.
  private static final String CHANGE = "runstate_set";

  /// Every QEMU since 2.6 has this one. It happens once for a control channel that listens, at the
  /// start, and never in a switch.
  private static final String START = "qio_channel_socket_new";

  /// What a guest is in that has been taken over: it runs, or sleeps on and may wake at any time.
  private static final List<String> LIVE = List.of("(running)", "(suspended)");

  /// QAPI `RunState`, of QEMU 2.6 to 11.1.
  private static final Map<String, RunState> NAMES =
      Map.ofEntries(
          Map.entry("running", RunState.RUNNING),
          Map.entry("suspended", RunState.SUSPENDED),
          Map.entry("paused", RunState.PAUSED),
          Map.entry("io-error", RunState.IO_ERROR),
          Map.entry("watchdog", RunState.WATCHDOG),
          Map.entry("guest-panicked", RunState.PANICKED),
          Map.entry("internal-error", RunState.INTERNAL_ERROR),
          Map.entry("shutdown", RunState.POWERED_OFF),
          Map.entry("finish-migrate", RunState.SENDING),
          Map.entry("postmigrate", RunState.SENT),
          Map.entry("inmigrate", RunState.AWAITING),
          Map.entry("prelaunch", RunState.NOT_STARTED),
          Map.entry("save-vm", RunState.BUSY),
          Map.entry("restore-vm", RunState.BUSY),
          Map.entry("debug", RunState.BUSY),
          Map.entry("colo", RunState.BUSY));

  private RunStates() {}

  /// What QEMU puts before a trace event: its number and the time, seconds and microseconds.
  private static final Pattern TIME = Pattern.compile("[0-9]{1,10}@([0-9]{1,12})\\.([0-9]{6}):.*");

  /// What it puts before a sentence of its own.
  private static final Pattern DATE = Pattern.compile("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z ");

  /// What `status` of `query-status` means.
  static RunState of(String status) {
    return NAMES.getOrDefault(status, RunState.UNKNOWN);
  }

  /// What the vCPUs of a QEMU do now.
  ///
  /// @throws Qmp.QmpException when it does not say within [Migration#LIMIT]
  static RunState ask(Qmp qmp) {
    return of(qmp.execute(Migration.LIMIT, "query-status", Map.of()).path("status").asString(""));
  }

  /// The options that have a process write its log, with times.
  static List<String> arguments() {
    return List.of(
        "-msg", "timestamp=on", "-trace", "enable=" + CHANGE, "-trace", "enable=" + START);
  }

  /// Whether a process with that log has run its guest.
  ///
  /// @return empty when its run states were not logged
  static Optional<Boolean> hasRun(String log) {
    List<String> traced = log.lines().filter(RunStates::isTrace).toList();
    return traced.isEmpty()
        ? Optional.empty()
        : Optional.of(traced.stream().anyMatch(line -> isChange(line) && entersLive(line)));
  }

  /// As [#hasRun], of a log where it lies.
  static Optional<Boolean> ofLog(Path file) {
    try {
      LogFile.Excerpt log = new LogFile(file).excerpt();
      // What is missing may have been the line that says so.
      return hasRun(log.text()).filter(ran -> ran || log.whole());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /// When the guest's clocks stopped last: QEMU leaves the state `running`, stops the clocks and
  /// then waits for the vCPUs, and reports STOP when these stand.
  ///
  /// @return microseconds since 1970 by its own clock, empty when that was not logged
  static OptionalLong clocksStopped(String log) {
    return last(log, line -> leavesLive(line) && !entersLive(line));
  }

  /// When the guest's clocks went on last: QEMU reports RESUME, starts the clocks and then enters
  /// the state `running`.
  ///
  /// @return as [#clocksStopped]
  static OptionalLong clocksStarted(String log) {
    return last(log, RunStates::entersLive);
  }

  private static boolean leavesLive(String line) {
    return LIVE.stream().anyMatch(state -> line.contains(state + " new_state "));
  }

  private static boolean entersLive(String line) {
    String end = line.stripTrailing();
    return LIVE.stream().anyMatch(end::endsWith);
  }

  private static OptionalLong last(String log, Predicate<String> kind) {
    return log.lines()
        .filter(line -> isChange(line) && kind.test(line))
        .map(TIME::matcher)
        .filter(Matcher::matches)
        .mapToLong(
            time -> Long.parseLong(time.group(1)) * 1_000_000 + Long.parseLong(time.group(2)))
        .reduce((_, later) -> later);
  }

  /// Those of the lines in which the process said something of its own, without their times.
  static List<String> words(List<String> lines) {
    return lines.stream()
        .filter(line -> !isTrace(line))
        .map(line -> DATE.matcher(line).replaceFirst(""))
        .toList();
  }

  private static boolean isTrace(String line) {
    return isChange(line) || line.contains(START + " Socket new ");
  }

  private static boolean isChange(String line) {
    return line.contains(CHANGE + " current_run_state ");
  }
}
