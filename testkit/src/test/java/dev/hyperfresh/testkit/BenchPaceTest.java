package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class BenchPaceTest {
  private static final Duration MINUTE = Duration.ofMinutes(1);

  private long now = 17;

  private BenchPace pace(Duration budget) {
    return new BenchPace(budget, () -> now);
  }

  private void pass(Duration time) {
    now += time.toNanos();
  }

  @Test
  void whatIsToComeIsJudgedByWhatWas() {
    BenchPace pace = pace(Duration.ofHours(1));
    pace.plan(MINUTE);
    pace.plan(MINUTE.multipliedBy(2));
    assertThat(pace.toGo()).isEqualTo(Duration.ofMinutes(3));

    BenchPace.Stint first = pace.begin(MINUTE);
    pass(MINUTE.multipliedBy(3));
    first.end();

    assertThat(pace.toGo()).isEqualTo(Duration.ofMinutes(6));
  }

  @Test
  void nothingIsExpectedToTakeMoreThanThereIs() {
    BenchPace pace = pace(MINUTE);
    pace.plan(Duration.ofHours(1));
    pass(Duration.ofSeconds(50));
    assertThat(pace.toGo()).isEqualTo(Duration.ofSeconds(10));
    pass(MINUTE);
    assertThat(pace.left()).isZero();
  }

  @Test
  void aSceneTakesItsShareAndNoMore() {
    BenchPace pace = pace(Duration.ofMinutes(4));
    pace.plan(MINUTE);
    pace.plan(MINUTE);
    BenchPace.Stint stint = pace.begin(MINUTE);
    assertThat(stint.allows(true)).isTrue();
    pass(Duration.ofSeconds(70));
    assertThat(stint.turned(2)).isEqualTo(Duration.ofSeconds(170));

    // Another turn of 70 s would end 20 s behind the share of 2 minutes.
    assertThat(stint.allows(true)).isFalse();
    assertThat(stint.allows(false)).isTrue();

    pass(Duration.ofSeconds(110));
    assertThat(stint.allows(false)).isFalse();
  }

  @Test
  void aSceneThatCouldOnlyBeginIsLeftOut() {
    BenchPace pace = pace(Duration.ofSeconds(40));
    assertThat(pace.hasTimeFor(MINUTE)).isTrue();
    pass(Duration.ofSeconds(11));
    assertThat(pace.hasTimeFor(MINUTE)).isFalse();
  }

  @Test
  void timesAreSaidAsPeopleSayThem() {
    assertThat(BenchPace.words(Duration.ofMillis(10))).isEqualTo("1 s");
    assertThat(BenchPace.words(Duration.ofSeconds(59))).isEqualTo("59 s");
    assertThat(BenchPace.words(Duration.ofSeconds(125))).isEqualTo("2 min 05 s");
  }
}
