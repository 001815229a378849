package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.testkit.BenchResult.Measured;
import dev.hyperfresh.testkit.BenchTurns.Lane;
import dev.hyperfresh.testkit.RivalMonitor.UnavailableException;
import dev.hyperfresh.testkit.RivalQemu.Move;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class BenchTurnsTest {
  private static final Duration LIMIT = Duration.ofSeconds(1);

  private final ByteArrayOutputStream said = new ByteArrayOutputStream();
  private final List<Scripted> contenders = new ArrayList<>();
  private final List<Lane> lanes = new ArrayList<>();
  private Duration budget = Duration.ofHours(1);
  private long now;

  /// Moves as it is told; its guest is a process that does nothing.
  private static final class Scripted implements Contender {
    private final String label;
    private final IntFunction<Optional<Move>> script;
    private final Process guest;
    private boolean closed;

    Scripted(String label, IntFunction<Optional<Move>> script) throws IOException {
      this.label = label;
      this.script = script;
      this.guest = new ProcessBuilder("sleep", "60").start();
    }

    @Override
    public String label() {
      return label;
    }

    @Override
    public int pid() {
      return (int) guest.pid();
    }

    @Override
    public Optional<Move> move(int turn, Duration limit) {
      return script.apply(turn);
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  @AfterEach
  void end() {
    contenders.forEach(contender -> contender.guest.destroyForcibly());
  }

  private Measured contender(String label, IntFunction<Optional<Move>> script) throws IOException {
    Scripted contender = new Scripted(label, script);
    contenders.add(contender);
    Measured measured = new Measured(label);
    lanes.add(new Lane(contender, measured));
    return measured;
  }

  private static Optional<Move> moved(int turn) {
    return Optional.of(new Move(turn, turn, 0));
  }

  private String take(int turns) {
    BenchPace pace = new BenchPace(budget, () -> now);
    pace.plan(Duration.ofMinutes(1));
    new BenchTurns(lanes, new PrintStream(said, true, StandardCharsets.UTF_8), Contender::close)
        .take(turns, LIMIT, pace.begin(Duration.ofMinutes(1)));
    return said.toString(StandardCharsets.UTF_8);
  }

  @Test
  void theFirstMovesDoNotCount() throws IOException {
    Measured one = contender("one", BenchTurnsTest::moved);
    assertThat(take(3)).contains("turn 1 of 5").endsWith("turn 5 of 5" + System.lineSeparator());
    assertThat(one.blackouts()).containsExactly(2.0, 3.0, 4.0);
    assertThat(one.trouble()).isEmpty();
  }

  @Test
  void oneThatFailsIsNamedAndTheOthersGoOn() throws IOException {
    Measured ours = contender("ours", BenchTurnsTest::moved);
    Measured broken =
        contender(
            "broken",
            turn -> {
              if (turn == 3) {
                throw new IllegalStateException("it\nbroke");
              }
              return moved(turn);
            });
    Measured missing =
        contender(
            "missing",
            _ -> {
              throw new UnavailableException("no userfaultfd");
            });
    Measured last = contender("last", BenchTurnsTest::moved);

    String text = take(4);

    assertThat(ours.blackouts()).hasSize(4);
    assertThat(last.blackouts()).hasSize(4);
    assertThat(broken.blackouts()).containsExactly(2.0);
    assertThat(broken.trouble()).isEqualTo("failed: it broke");
    assertThat(broken.hasFailed()).isTrue();
    assertThat(missing.trouble()).isEqualTo("skipped: no userfaultfd");
    assertThat(missing.hasFailed()).isFalse();
    assertThat(text).containsOnlyOnce("broken: failed: it broke").contains("missing: skipped: no");
    assertThat(contenders.stream().map(contender -> contender.closed))
        .containsExactly(false, true, true, false);
  }

  @Test
  void oneThatComesToNoEndAtOnceOrTwiceIsNotTriedAgain() throws IOException {
    Measured ours = contender("ours", BenchTurnsTest::moved);
    Measured endless = contender("endless", _ -> Optional.empty());
    int[] tries = {0};
    Measured later =
        contender(
            "later",
            turn -> {
              tries[0]++;
              return turn == 0 ? moved(turn) : Optional.empty();
            });
    assertThat(take(3))
        .contains("endless: came to no end in time, not tried again")
        .contains("later: came to no end in time, not tried again");
    assertThat(endless.givenUp()).isEqualTo(1);
    assertThat(tries[0]).isEqualTo(3);
    assertThat(later.givenUp()).isEqualTo(2);
    assertThat(later.absence()).isEqualTo("never came to its end");
    assertThat(ours.blackouts()).hasSize(3);
  }

  @Test
  void aGuestThatIsGoneIsNotTheFaultOfTheOneThatMoves() throws Exception {
    Measured ours = contender("ours", BenchTurnsTest::moved);
    Measured gone = contender("gone", BenchTurnsTest::moved);
    Process guest = contenders.getLast().guest;
    guest.destroyForcibly();
    assertThat(guest.waitFor(10, TimeUnit.SECONDS)).isTrue();
    take(3);
    assertThat(ours.blackouts()).hasSize(3);
    assertThat(gone.trouble()).startsWith("failed: its guest is gone");
  }

  @Test
  void aRunEndsInTimeWithWhatItHas() throws IOException {
    budget = Duration.ofSeconds(50);
    Measured slow =
        contender(
            "slow",
            turn -> {
              now += Duration.ofSeconds(10).toNanos();
              return moved(turn);
            });
    assertThat(take(20)).contains("no time for more than 4 of 22 turns");
    assertThat(slow.blackouts()).hasSize(2);
  }

  @Test
  void noMoveBeginsWhenTheTimeIsUp() throws IOException {
    budget = Duration.ofSeconds(15);
    contender(
        "slow",
        turn -> {
          now += Duration.ofSeconds(20).toNanos();
          return moved(turn);
        });
    Measured next = contender("next", _ -> Optional.empty());
    assertThat(take(3)).contains("no time for more than 1 of 5 turns");
    assertThat(next.givenUp()).isZero();
    assertThat(next.absence()).isEqualTo("no time for a move that counts");
  }

  @Test
  void theOthersStandMeanwhile() throws IOException {
    contender("ours", BenchTurnsTest::moved);
    List<Character> states = new ArrayList<>();
    contender(
        "watcher",
        turn -> {
          states.add(state(contenders.getFirst().pid()));
          return moved(turn);
        });
    take(1);
    assertThat(states).containsOnly('T');
    assertThat(state(contenders.getFirst().pid())).isNotEqualTo('T');
  }

  /// As proc_pid_stat(5) has it.
  private static char state(int pid) {
    long deadline = System.nanoTime() + Duration.ofSeconds(5).toNanos();
    char state;
    do {
      state = stateNow(pid);
    } while (state == 'R' && System.nanoTime() < deadline);
    return state;
  }

  private static char stateNow(int pid) {
    try {
      String stat = Files.readString(Path.of("/proc", Integer.toString(pid), "stat"));
      return stat.charAt(stat.lastIndexOf(')') + 2);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
