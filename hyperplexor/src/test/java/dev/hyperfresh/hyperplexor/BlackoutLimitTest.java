package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class BlackoutLimitTest {
  @ParameterizedTest
  @ValueSource(longs = {1, 1000, 60_000})
  void oneThatIsInRangeHasNoFaults(long millis) {
    Duration duration = Duration.ofMillis(millis);

    assertThat(BlackoutLimit.faults(duration)).isEmpty();
    assertThat(new BlackoutLimit(duration).duration()).isEqualTo(duration);
  }

  /// Also one that is longer than any clock counts.
  static Stream<Duration> outOfRange() {
    return Stream.of(
        Duration.ZERO,
        Duration.ofMillis(-1),
        Duration.ofNanos(999_999),
        Duration.ofMinutes(1).plusNanos(1),
        Duration.ofSeconds(Long.MAX_VALUE),
        Duration.ofSeconds(Long.MIN_VALUE));
  }

  @ParameterizedTest
  @MethodSource("outOfRange")
  void nobodyHasOneThatIsOutOfRange(Duration duration) {
    assertThat(BlackoutLimit.faults(duration))
        .isEqualTo(List.of("the blackout budget is not between 1 and 60000 ms"));
    assertThatThrownBy(() -> new BlackoutLimit(duration))
        .hasMessageContaining("The blackout budget is not between 1 and 60000 ms.")
        .extracting(StagedRelease::code)
        .isEqualTo("HF-API-001");
  }
}
