package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Test;

class HealthTest {
  private static final Instant START = Instant.parse("2026-01-01T00:00:00Z");
  private static final HealthCheck CHECK =
      new HealthCheck(
          List.of("/bin/true"),
          Duration.ofSeconds(5),
          Duration.ofSeconds(2),
          3,
          Duration.ofSeconds(60));

  private static Health failed(Health health, int seconds) {
    return health.failed(CHECK, "no", START, START.plusSeconds(seconds));
  }

  @Test
  void itIsUnhealthyAfterSoManyFailuresInARow() {
    Health health = Health.UNKNOWN.worked(START);
    assertThat(health.state()).isEqualTo(Health.State.HEALTHY);
    Health twice = failed(failed(health, 1), 2);
    assertThat(twice.state()).isEqualTo(Health.State.HEALTHY);
    assertThat(twice.failure()).isEqualTo("no");
    assertThat(failed(twice, 3).state()).isEqualTo(Health.State.UNHEALTHY);
    Health again = failed(failed(twice.worked(START), 4), 5);
    assertThat(again.state()).isEqualTo(Health.State.HEALTHY);
    assertThat(failed(failed(twice, 3), 4).worked(START).state()).isEqualTo(Health.State.HEALTHY);
  }

  @Test
  void failuresWhileItStartsDoNotCount() {
    Health health = Health.UNKNOWN;
    for (int second = 0; second < 60; second += 5) {
      health = failed(health, second);
    }
    assertThat(health.state()).isEqualTo(Health.State.STARTING);
    assertThat(failed(failed(health, 60), 65).state()).isEqualTo(Health.State.STARTING);
    assertThat(failed(failed(failed(health, 60), 65), 70).state())
        .isEqualTo(Health.State.UNHEALTHY);
    // Once it has worked, it is not starting any more.
    Health worked = Health.UNKNOWN.worked(START);
    assertThat(failed(failed(failed(worked, 1), 2), 3).state()).isEqualTo(Health.State.UNHEALTHY);
  }

  @Test
  void whatIsOutOfRangeIsNamed() {
    assertThat(CHECK.faults()).isEmpty();
    HealthCheck wrong =
        new HealthCheck(List.of(), Duration.ZERO, Duration.ofMinutes(2), 0, Duration.ofSeconds(-1));
    assertThat(wrong.faults()).hasSize(5);
    assertThat(
            new HealthCheck(List.of("a\u0001"), CHECK.interval(), CHECK.timeout(), 1, Duration.ZERO)
                .faults())
        .hasSize(1);
  }
}
