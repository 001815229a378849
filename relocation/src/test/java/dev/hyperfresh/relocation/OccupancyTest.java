package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.Test;

class OccupancyTest {
  private final Occupancy occupancy = new Occupancy();
  private int ended;

  private void end() {
    occupancy.end("os1", List::of, () -> ended++);
  }

  private static void assertRefused(Problem problem, String word, ThrowingCallable order) {
    assertThatThrownBy(order)
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> {
              assertThat(e.problem()).isEqualTo(problem);
              assertThat(e.detail()).contains(word);
            });
  }

  @Test
  void nobodyEndsAnOsUnderSomebodyOnTheWay() {
    try (Occupancy.Place _ = occupancy.take("os1", "web1 is arriving", List::of);
        Occupancy.Place _ = occupancy.keep("os1", "web2 is leaving")) {
      assertRefused(Problem.OS_IN_USE, "web1 is arriving, web2 is leaving", this::end);
    }
    assertThat(ended).isZero();
    end();
    assertThat(ended).isEqualTo(1);
  }

  @Test
  void nobodyEndsAnOsUnderSomebodyInside() {
    assertRefused(
        Problem.OS_IN_USE,
        "os1 has web1",
        () -> occupancy.end("os1", () -> List.of("web1"), () -> ended++));
    assertThat(ended).isZero();
  }

  @Test
  void nobodyComesIntoAnOsThatIsBeingEnded() {
    occupancy.end(
        "os1",
        List::of,
        () -> {
          assertRefused(
              Problem.OS_UNKNOWN, "being ended", () -> occupancy.take("os1", "web1", List::of));
          assertRefused(Problem.OS_UNKNOWN, "being ended", this::end);
          occupancy.take("os2", "web1", List::of).close();
        });
    occupancy.take("os1", "web1", List::of).close();
  }

  @Test
  void whatIsKilledHasNobodyAskedAndTakesNobody() {
    try (Occupancy.Place _ = occupancy.take("os1", "web1 is starting", List::of)) {
      occupancy.kill(
          "os1",
          () -> {
            assertRefused(
                Problem.OS_UNKNOWN, "being ended", () -> occupancy.take("os1", "web2", List::of));
            assertRefused(Problem.OS_UNKNOWN, "being ended", () -> occupancy.kill("os1", () -> {}));
          });
    }
    occupancy.take("os1", "web2", List::of).close();
  }

  @Test
  void placesOfTheSameNameAreTwo() {
    Occupancy.Place one = occupancy.take("os1", "web1 is starting", List::of);
    Occupancy.Place other = occupancy.take("os1", "web1 is starting", List::of);
    one.close();
    assertRefused(Problem.OS_IN_USE, "web1", this::end);
    other.close();
    end();
  }

  @Test
  void thereIsAMost() {
    List<String> most = Collections.nCopies(Occupancy.MOST_CONTAINERS - 1, "one");
    try (Occupancy.Place _ = occupancy.take("os1", "web1", () -> most)) {
      assertRefused(
          Problem.OS_FULL,
          Integer.toString(Occupancy.MOST_CONTAINERS),
          () -> occupancy.take("os1", "web2", () -> most));
      // Whoever leaves takes no place that was not taken.
      occupancy.keep("os1", "web3").close();
    }
  }

  @Test
  void oneThatHasArrivedIsNotCountedTwice() {
    List<String> there =
        Stream.concat(
                Stream.of("web1"),
                Collections.nCopies(Occupancy.MOST_CONTAINERS - 2, "one").stream())
            .toList();
    try (Occupancy.Place _ = occupancy.take("os1", "web1 is arriving", List::of)) {
      occupancy.take("os1", "web2 is arriving", () -> there).close();
    }
  }

  @Test
  void oneThatComesBackHasKeptItsPlace() {
    List<String> there = Collections.nCopies(Occupancy.MOST_CONTAINERS - 1, "one");
    try (Occupancy.Place _ = occupancy.keep("os1", "web1 is leaving")) {
      occupancy.take("os1", "web1 is arriving", () -> there).close();
      assertRefused(
          Problem.OS_FULL,
          Integer.toString(Occupancy.MOST_CONTAINERS),
          () -> occupancy.take("os1", "web2 is arriving", () -> there));
    }
  }
}
