package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class LibvirtOrderTest {
  private static LibvirtOrder order(int canary) {
    return new LibvirtOrder(List.of(), "installed", canary, false, true, Duration.ofSeconds(1));
  }

  @Test
  void theFirstHaveAStopOfTheirOwn() {
    List<String> all = List.of("a", "b", "c");

    assertThat(order(0).groups(all)).containsExactly(all);
    assertThat(order(1).groups(all)).containsExactly(List.of("a"), List.of("b", "c"));
    assertThat(order(3).groups(all)).containsExactly(all);
    assertThat(order(9).groups(all)).containsExactly(all);
    assertThat(order(2).groups(List.of())).isEmpty();
  }
}
