package dev.hyperfresh.hyperplexor;

/// How far a guest's clocks have fallen behind since it was created or adopted: they stand while no
/// hypervisor runs its vCPUs, and nothing puts them forward again. Immutable.
///
/// @param micros the sum of all stops that a daemon saw, microseconds: those of replacements,
///   committed or rolled back, and any other
/// @param unmeasured stops whose length nobody saw, such as one in which the daemon was killed: the
///   clocks may have lost more than `micros` by these
public record ClockLoss(long micros, int unmeasured) {
  /// Of a guest that never stood still.
  public static final ClockLoss NONE = new ClockLoss(0, 0);

  /// With one more stop of so many microseconds. One that seems to have ended before it began,
  /// because two machines' clocks disagree, took no time.
  ClockLoss plus(long stopMicros) {
    return new ClockLoss(micros + Math.max(0, stopMicros), unmeasured);
  }

  /// With one more stop that nobody measured.
  ClockLoss plusUnmeasured() {
    return new ClockLoss(micros, unmeasured + 1);
  }
}
