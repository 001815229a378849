package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.SimulatedFaults.Fault;
import dev.hyperfresh.hyperplexor.SimulatedWorld.Defect;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// Replacements under several daemons in virtual time, a hundred thousand times: each run is
/// decided by a seed, has up to two faults, and must lose, double and wedge no guest.
/// `-Dhyperfresh.simulation.seed=N` runs one seed and prints what happened in it.
class SimulationTest {
  private static final int RUNS = 100_000;
  private static final long LIMIT_MILLIS = 120_000;
  private static final List<String> EVERY_STATE =
      List.of("Planned", "Prepared", "Switching", "Committed");

  /// Properties of the target rather than moments.
  private static final Map<Fault, List<String>> STATES =
      Map.of(
          Fault.TARGET_REFUSES, List.of("Planned", "Switching"),
          Fault.TARGET_IS_SLOW, List.of("Planned", "Switching"));

  // Every contained failure is logged; here they are the rule.
  private static final Logger LOG = Logger.getLogger(Contained.class.getName());

  @BeforeAll
  static void beQuiet() {
    LOG.setLevel(Level.OFF);
  }

  @AfterAll
  static void speakAgain() {
    LOG.setLevel(null);
  }

  @Test
  void noSingleFaultLosesAGuest() {
    Long only = Long.getLong("hyperfresh.simulation.seed");
    if (only != null) {
      SimulatedWorld world = new SimulatedWorld(only, Defect.NONE, true);
      try {
        world.run();
      } finally {
        world.trace().forEach(System.out::println);
      }
      return;
    }
    long first = Long.getLong("hyperfresh.simulation.first", System.nanoTime() & 0xffff_ffffL);
    System.out.println("  seeds from " + first);
    Map<String, Long> outcomes = new ConcurrentSkipListMap<>();
    Map<String, Long> points = new ConcurrentSkipListMap<>();
    long begin = System.nanoTime();
    Optional<AssertionError> broken =
        LongStream.range(first, first + RUNS)
            .parallel()
            .mapToObj(seed -> run(seed, outcomes, points))
            .flatMap(Optional::stream)
            .findAny();
    if (broken.isPresent()) {
      throw broken.get();
    }
    long millis = (System.nanoTime() - begin) / 1_000_000;
    System.out.println("  " + RUNS + " runs in " + millis + " ms: " + outcomes);
    assertThat(millis).as("milliseconds").isLessThan(LIMIT_MILLIS);
    assertThat(outcomes)
        .containsKeys(
            "committed",
            "rolled-back",
            "failed",
            "resumed",
            "daemon killed",
            "refused",
            "in doubt");
    for (Fault fault : Fault.values()) {
      for (String state : STATES.getOrDefault(fault, EVERY_STATE)) {
        assertThat(points.getOrDefault(fault + " " + state, 0L))
            .as(fault + " in " + state)
            .isGreaterThan(20);
      }
    }
  }

  /// A seed that breaks an invariant is run again with a trace, which is the failure's message.
  private static Optional<AssertionError> run(
      long seed, Map<String, Long> outcomes, Map<String, Long> points) {
    try {
      SimulatedWorld world = new SimulatedWorld(seed, Defect.NONE, false);
      for (String outcome : world.run().split(", ")) {
        outcomes.merge(outcome, 1L, Long::sum);
      }
      world.faults.happened().forEach(point -> points.merge(point, 1L, Long::sum));
      return Optional.empty();
    } catch (AssertionError e) {
      return Optional.of(traced(seed, e));
    }
  }

  private static AssertionError traced(long seed, AssertionError first) {
    try {
      new SimulatedWorld(seed, Defect.NONE, true).run();
      return new AssertionError("seed " + seed + " does not replay", first);
    } catch (AssertionError again) {
      return again;
    }
  }

  @Test
  void aSeedReplaysExactly() {
    for (long seed = 0; seed < 200; seed++) {
      SimulatedWorld once = new SimulatedWorld(seed, Defect.NONE, true);
      SimulatedWorld again = new SimulatedWorld(seed, Defect.NONE, true);
      assertThat(once.run()).isEqualTo(again.run());
      assertThat(once.trace()).isNotEmpty().isEqualTo(again.trace());
    }
  }

  @Test
  void aFreezeThatDoesNotFreezeIsNoticed() {
    assertThat(brokenBy(Defect.FREEZE_LIES)).isPresent();
  }

  @Test
  void aSourceThatRunsOnAfterTheCommitIsNoticed() {
    assertThat(brokenBy(Defect.END_LIES)).isPresent();
  }

  @Test
  void aDoubtThatIsForgottenIsNoticed() {
    assertThat(brokenBy(Defect.DOUBT_FORGOTTEN)).isPresent();
  }

  @Test
  void aLogThatLiesIsNoticed() {
    assertThat(brokenBy(Defect.LOG_LIES)).isPresent();
  }

  private static Optional<String> brokenBy(Defect defect) {
    return LongStream.range(0, 20_000)
        .mapToObj(seed -> brokenBy(defect, seed))
        .flatMap(Optional::stream)
        .findFirst();
  }

  private static Optional<String> brokenBy(Defect defect, long seed) {
    try {
      new SimulatedWorld(seed, defect, false).run();
      return Optional.empty();
    } catch (AssertionError e) {
      return Optional.of(String.valueOf(e.getMessage()));
    }
  }
}
