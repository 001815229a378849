package dev.hyperfresh.relocation;

import java.time.Duration;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Whether a container that has ended is started again. One that was told to stop is not.
///
/// @param kind when
/// @param most how often one after the other, if that is limited
public record RestartPolicy(Kind kind, OptionalInt most) {
  /// Never.
  public static final RestartPolicy NO = new RestartPolicy(Kind.NO, OptionalInt.empty());

  /// When a container is started again.
  public enum Kind {
    /// Never.
    NO,
    /// When it ended otherwise than with exit code 0, its OS's end included.
    ON_FAILURE,
    /// However it ended.
    ALWAYS
  }

  /// One that has run for so long counts as having started well.
  static final Duration WELL = Duration.ofSeconds(10);

  private static final Duration FIRST = Duration.ofMillis(100);
  private static final Duration LONGEST = Duration.ofMinutes(1);
  private static final Pattern LIMITED = Pattern.compile("on-failure:([1-9][0-9]{0,5})");

  /// Reads `no`, `on-failure`, `on-failure:N` or `always`; empty when it is none of them.
  public static Optional<RestartPolicy> parse(String text) {
    Matcher limited = LIMITED.matcher(text);
    if (limited.matches()) {
      return Optional.of(
          new RestartPolicy(Kind.ON_FAILURE, OptionalInt.of(Integer.parseInt(limited.group(1)))));
    }
    return switch (text) {
      case "no" -> Optional.of(NO);
      case "on-failure" -> Optional.of(new RestartPolicy(Kind.ON_FAILURE, OptionalInt.empty()));
      case "always" -> Optional.of(new RestartPolicy(Kind.ALWAYS, OptionalInt.empty()));
      default -> Optional.empty();
    };
  }

  /// As [#parse] reads it.
  public String text() {
    return switch (kind) {
      case NO -> "no";
      case ON_FAILURE -> most.isPresent() ? "on-failure:" + most.getAsInt() : "on-failure";
      case ALWAYS -> "always";
    };
  }

  /// Whether a container is to be started again.
  ///
  /// @param failed whether its end was a failure
  /// @param restarts how often it was already, without having run for [#WELL]
  boolean wants(boolean failed, int restarts) {
    return switch (kind) {
      case NO -> false;
      case ON_FAILURE -> failed && restarts < most.orElse(Integer.MAX_VALUE);
      case ALWAYS -> true;
    };
  }

  /// How long to wait before the next start.
  ///
  /// @param restarts as for [#wants]
  static Duration delay(int restarts) {
    Duration delay = FIRST.multipliedBy(1L << Math.min(restarts, 20));
    return delay.compareTo(LONGEST) < 0 ? delay : LONGEST;
  }
}
