package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.List;

/// How long a switch may take, from the order to hand over, before it is given up. Whoever has one
/// has one that is in range.
///
/// @param duration [#MIN] to [#MAX]
public record BlackoutLimit(Duration duration) {
  /// Below it no hand-over can succeed.
  public static final Duration MIN = Duration.ofMillis(1);

  /// What no guest may be asked to stand still for longer than.
  public static final Duration MAX = Duration.ofMinutes(1);

  private static final String OUT_OF_RANGE =
      "blackout budget is not between " + MIN.toMillis() + " and " + MAX.toMillis() + " ms";

  /// @throws HyperFreshException [Problem#API_REQUEST] when it is out of range
  public BlackoutLimit {
    if (!isInRange(duration)) {
      throw Problem.API_REQUEST.because("The " + OUT_OF_RANGE + ".");
    }
  }

  private static boolean isInRange(Duration duration) {
    return duration.compareTo(MIN) >= 0 && duration.compareTo(MAX) <= 0;
  }

  /// What keeps `duration` from being one, for whoever lists all that is wrong with an order; empty
  /// when nothing does.
  static List<String> faults(Duration duration) {
    return isInRange(duration) ? List.of() : List.of("the " + OUT_OF_RANGE);
  }
}
