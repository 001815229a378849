package dev.hyperfresh.hypervisor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class MemoryCopyTest {
  @Test
  void itsBoundsAreBounded() {
    Duration limit = Duration.ofMinutes(1);
    Duration downtime = Duration.ofMillis(300);
    assertThat(new MemoryCopy(MemoryCopy.MIN_LIMIT, MemoryCopy.MIN_DOWNTIME)).isNotNull();
    assertThat(new MemoryCopy(MemoryCopy.MAX_LIMIT, MemoryCopy.MAX_DOWNTIME)).isNotNull();
    assertRefused(Duration.ofMillis(999), downtime, "time limit");
    assertRefused(MemoryCopy.MAX_LIMIT.plusMillis(1), downtime, "time limit");
    assertRefused(limit, Duration.ZERO, "downtime");
    assertRefused(limit, Duration.ofMillis(10_001), "between 1 and 10000 ms");
  }

  private static void assertRefused(Duration limit, Duration downtime, String why) {
    assertThatThrownBy(() -> new MemoryCopy(limit, downtime))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.API_REQUEST))
        .hasMessageContaining(why);
  }

  @Test
  void whatIsNotKnownYetIsNotSaid() {
    assertThat(new MemoryCopy.Status(1 << 20, 1, 0, 0, 1, 0, 0).words())
        .isEqualTo("pass 1 over 1 MiB: 1 MiB sent, 0 MiB left, the guest changes 0 MiB/s");
  }
}
