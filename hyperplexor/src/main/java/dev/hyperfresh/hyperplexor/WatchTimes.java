package dev.hyperfresh.hyperplexor;

import java.time.Duration;

/// How long a guest's heartbeat is watched around its switch. A replacement waits for both, and
/// only its figures come of them: a guest without a heartbeat moves at once.
///
/// @param before the switch; its longest gap is the noise floor
/// @param after the switch; until then the guest counts as being on cold page tables
public record WatchTimes(Duration before, Duration after) {
  /// Long enough for figures that are worth something.
  public static final WatchTimes USUAL =
      new WatchTimes(Duration.ofMillis(500), Duration.ofSeconds(1));

  /// @throws IllegalArgumentException when one of them is negative
  public WatchTimes {
    if (before.isNegative() || after.isNegative()) {
      throw new IllegalArgumentException("a time to watch is negative: " + before + ", " + after);
    }
  }
}
