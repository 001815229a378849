package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.relocation.SimulatedWorld.Defect;
import java.time.Duration;
import java.util.Arrays;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Moves of a container through faults and the lives of several daemons; a seed that fails is in
/// the message, and gives the same run again.
class RelocationSimulationTest {
  private static final long RUNS = 34_000;
  private static final long DEFECTIVE_RUNS = 5_000;
  private static final Duration LIMIT = Duration.ofMinutes(2);

  private final Set<Class<?>> states = ConcurrentHashMap.newKeySet();

  private Optional<AssertionError> run(long seed, int faults, Defect defect) {
    SimulatedMove move = new SimulatedMove(seed, faults, defect);
    try {
      move.run();
      states.addAll(move.states());
      return Optional.empty();
    } catch (Throwable e) {
      return Optional.of(
          new AssertionError(
              "seed "
                  + seed
                  + ", "
                  + faults
                  + " faults: "
                  + e.getMessage()
                  + "\n"
                  + String.join("\n", move.trace()),
              e));
    }
  }

  @Test
  void aMoveWithoutFaultsComesToItsEnd() {
    SimulatedMove move = new SimulatedMove(1, 0, Defect.NONE);
    move.run();
    assertThat(move.trace().getLast()).startsWith("over: Retired");
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void noFaultsRunItTwiceOrLoseIt(int faults) {
    long begin = System.nanoTime();
    LongStream.range(0, RUNS)
        .parallel()
        .mapToObj(seed -> run(seed, faults, Defect.NONE))
        .flatMap(Optional::stream)
        .findAny()
        .ifPresent(failed -> {
          throw failed;
        });
    assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(LIMIT);
    // Two daemons at least, and the end of an OS, make a doubt.
    if (faults > 1) {
      assertThat(states).containsExactlyInAnyOrder(writable(MoveState.class));
    }
  }

  /// What of a sealed type can be written down.
  private static Class<?>[] writable(Class<?> type) {
    return type.isRecord()
        ? new Class<?>[] {type}
        : Arrays.stream(type.getPermittedSubclasses())
            .flatMap(part -> Arrays.stream(writable(part)))
            .toArray(Class<?>[]::new);
  }

  @ParameterizedTest
  @EnumSource(value = Defect.class, mode = EnumSource.Mode.EXCLUDE, names = "NONE")
  void whatIsWrongOnPurposeIsNoticed(Defect defect) {
    assertThat(
            LongStream.range(0, DEFECTIVE_RUNS)
                .parallel()
                .filter(seed -> run(seed, 2, defect).isPresent())
                .findAny())
        .isPresent();
  }
}
