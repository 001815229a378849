package dev.hyperfresh.relocation;

import java.time.Instant;
import java.util.Locale;
import java.util.Optional;

/// What is known of whether a container works. Immutable.
///
/// @param failures how many checks have failed one after the other
/// @param failure what the last check that failed has said; empty when the last one went well
/// @param checkedAt when the last check ended
public record Health(State state, int failures, String failure, Optional<Instant> checkedAt) {
  /// Of a container that has not been asked yet.
  static final Health UNKNOWN = new Health(State.STARTING, 0, "", Optional.empty());

  /// Whether it works.
  public enum State {
    /// No check has gone well yet, nor have enough failed.
    STARTING,
    /// It works, or has failed too few checks to say that it does not.
    HEALTHY,
    /// It does not work.
    UNHEALTHY;

    /// As it is shown.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// After a check that went well.
  Health worked(Instant now) {
    return new Health(State.HEALTHY, 0, "", Optional.of(now));
  }

  /// After a check that failed.
  ///
  /// @param startedAt when the container was started
  Health failed(HealthCheck check, String why, Instant startedAt, Instant now) {
    boolean early = state == State.STARTING && now.isBefore(startedAt.plus(check.startPeriod()));
    int count = early ? 0 : failures + 1;
    State next = count >= check.retries() ? State.UNHEALTHY : state;
    return new Health(next, count, why, Optional.of(now));
  }
}
