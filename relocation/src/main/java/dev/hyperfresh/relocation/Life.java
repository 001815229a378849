package dev.hyperfresh.relocation;

import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/// What a daemon writes down of a container from its first start until it is removed, so that the
/// next one knows of its end and of what is to come after it. Immutable.
///
/// @param os where it runs, or ran last
/// @param restart whether it is started again when it ends
/// @param started whether it has ever run
/// @param stopped whether somebody has told it to stop since it was started last
/// @param stoppedIn the boot of the host in which alone that counts, if it does so in one alone
/// @param restarts how often it was started again by `restart`, without having run well
/// @param since when it was started last
/// @param ended how it ended, if it has
/// @param lost instead, when its OS has ended
record Life(
    ContainerSpec spec,
    String os,
    RestartPolicy restart,
    boolean started,
    boolean stopped,
    Optional<String> stoppedIn,
    int restarts,
    Instant since,
    Optional<ContainerState.Ended> ended,
    Optional<ContainerState.Lost> lost) {

  /// Of a container that is being made.
  static Life begun(ContainerSpec spec, String os, RestartPolicy restart, Instant now) {
    return new Life(
        spec,
        os,
        restart,
        false,
        false,
        Optional.empty(),
        0,
        now,
        Optional.empty(),
        Optional.empty());
  }

  String name() {
    return spec.name();
  }

  /// How it ended; empty while it runs, as far as is known.
  Optional<ContainerState> end() {
    return ended.<ContainerState>map(how -> how).or(() -> lost);
  }

  /// It runs.
  Life runs(String where, Instant now) {
    return new Life(
        spec,
        where,
        restart,
        true,
        false,
        Optional.empty(),
        restarts,
        now,
        Optional.empty(),
        Optional.empty());
  }

  /// It goes on in another OS, or is to be started there the next time.
  Life in(String where) {
    return new Life(
        spec, where, restart, started, stopped, stoppedIn, restarts, since, ended, lost);
  }

  /// Somebody has told it to stop.
  Life toldToStop() {
    return told(true, Optional.empty());
  }

  /// It is to stop because the host does, if nobody has told it to before. One that has ended, and
  /// is not to be started again, is done.
  ///
  /// @param boot of the host, see [dev.hyperfresh.linux.Host#bootId]
  Life toldToStopIn(String boot) {
    boolean isDone = end().isPresent() && !wantsToRun();
    return isDone || isToStay(boot) ? this : told(true, Optional.of(boot));
  }

  /// What it was told is taken back.
  Life notToldToStop() {
    return told(false, Optional.empty());
  }

  private Life told(boolean wish, Optional<String> boot) {
    return new Life(spec, os, restart, started, wish, boot, restarts, since, ended, lost);
  }

  /// Whether it is not to be started by its policy.
  ///
  /// @param boot the present one of the host
  boolean isToStay(String boot) {
    return stopped && stoppedIn.map(boot::equals).orElse(true);
  }

  /// Whether it has ended so that its policy has it started again. That the host stopped it counts
  /// as a failure, as does the end of its OS.
  boolean wantsToRun() {
    return end().filter(how -> restart.wants(how.hasFailed() || stopped, restarts)).isPresent();
  }

  /// It has ended. Of one that had run well, earlier restarts no longer count.
  ///
  /// @throws IllegalArgumentException when `how` is no end
  Life ended(ContainerState how) {
    Instant at = how.endedAt().orElseThrow(IllegalArgumentException::new);
    boolean well = Duration.between(since, at).compareTo(RestartPolicy.WELL) >= 0;
    return new Life(
        spec,
        os,
        restart,
        true,
        stopped,
        stoppedIn,
        well ? 0 : restarts,
        since,
        how instanceof ContainerState.Ended ended ? Optional.of(ended) : Optional.empty(),
        how instanceof ContainerState.Lost gone ? Optional.of(gone) : Optional.empty());
  }

  /// It is about to be started once more by its policy, or by somebody.
  Life again(boolean byPolicy) {
    return byPolicy
        ? new Life(spec, os, restart, started, stopped, stoppedIn, restarts + 1, since, ended, lost)
        : new Life(spec, os, restart, started, false, Optional.empty(), 0, since, ended, lost);
  }

  /// The start that its policy was about could not be tried.
  Life notStarted() {
    int before = Math.max(0, restarts - 1);
    return new Life(spec, os, restart, started, stopped, stoppedIn, before, since, ended, lost);
  }
}
