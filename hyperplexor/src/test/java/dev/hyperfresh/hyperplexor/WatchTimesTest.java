package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class WatchTimesTest {
  private static final Duration SHORT = Duration.ofMillis(1);

  @Test
  void noTimeIsNegative() {
    assertThatThrownBy(() -> new WatchTimes(SHORT.negated(), SHORT))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new WatchTimes(SHORT, SHORT.negated()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
