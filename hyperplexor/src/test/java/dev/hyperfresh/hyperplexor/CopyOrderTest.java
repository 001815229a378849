package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Clock;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// What a replacement that copies the guest's memory does otherwise: while it copies, packets go to
/// the source, and other guests may switch.
@Timeout(20)
class CopyOrderTest {
  private static final Duration DOWNTIME = Duration.ofMillis(300);

  @TempDir Path folder;

  private final SwitchGate gate = new SwitchGate(1);
  private Stage stage;
  private Guest guest;
  private Journal journal;
  private RecordingPorts ports;

  @BeforeEach
  void begin() {
    stage = new Stage(folder);
    ports = new RecordingPorts(stage.calls);
    guest = stage.guest("web1", ports);
    journal = Journal.open(folder.resolve("journal.log"));
  }

  @AfterEach
  void end() {
    guest.delete(true);
    journal.close();
    stage.close();
    assertThat(gate.free()).isEqualTo(1);
  }

  private ReplacementRecord replace(Optional<CopyOrder> copy) {
    return guest.call(() ->
        new Replacement(
                "id1",
                guest,
                Stage.NEW,
                copy.map(CopyOrder::blackout).orElse(new BlackoutLimit(Duration.ofSeconds(5))),
                new Surroundings.OfHost(journal, gate, WatchTimes.USUAL),
                () -> {},
                Progress.NONE,
                copy)
            .run());
  }

  private static Optional<CopyOrder> copying(Duration limit) {
    return Optional.of(new CopyOrder(new MemoryCopy(limit, DOWNTIME), () -> false));
  }

  @Test
  void theGuestMayStandForSomeDowntimesAndALittleMore() {
    assertThat(copying(Duration.ofSeconds(5)).orElseThrow().blackout().duration())
        .isEqualTo(Duration.ofMillis(3200));
    CopyOrder longest =
        new CopyOrder(new MemoryCopy(MemoryCopy.MAX_LIMIT, MemoryCopy.MAX_DOWNTIME), () -> false);
    assertThat(longest.blackout().duration()).isEqualTo(Duration.ofSeconds(42));
  }

  @Test
  void packetsGoToTheTargetWhenTheSourceHasStopped() {
    stage.on(
        "1.handOver",
        source -> {
          assertThat(gate.free()).as("other guests may switch").isEqualTo(1);
          stage.handOverFirst(source);
        });

    assertThat(replace(copying(Duration.ofSeconds(5))).committed()).isTrue();

    assertThat(stage.calls)
        .containsSubsequence("join copying", "1.handOver", "steer", "1.end", "keep")
        .containsOnlyOnce("steer");
  }

  /// Both sides report on channels of their own.
  @Test
  void theyDoSoWhenTheStopIsHeardLate() {
    stage.on(
        "1.handOver",
        source -> {
          stage.actor("web1", 2).tell(new InstanceEvent.Resumed(2, 5_004_500));
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
        });

    ReplacementRecord record = replace(copying(Duration.ofSeconds(5)));

    assertThat(record.committed()).isTrue();
    assertThat(record.blackoutMs()).hasValue(4.5);
    assertThat(stage.calls)
        .containsSubsequence("1.handOver", "steer", "1.end", "keep")
        .containsOnlyOnce("steer");
  }

  /// It has arrived in the moment in which it was given up.
  @Test
  void theyDoSoWhenTheTargetRunsAfterAll() {
    stage.on("2.freeze", target -> target.tell(new InstanceEvent.Resumed(2, 5_004_500)));

    assertThat(replace(copying(Duration.ofSeconds(1))).committed()).isTrue();

    assertThat(stage.calls)
        .containsSubsequence("1.handOver", "2.freeze", "2.thaw", "steer", "1.end", "keep")
        .doesNotContain("steer back");
  }

  @Test
  void aCopyThatIsGivenUpHasSteeredNothing() {
    ReplacementRecord record = replace(copying(Duration.ofSeconds(1)));

    assertThat(record.problem()).isEqualTo(Problem.ADOPT_COPY.code());
    assertThat(stage.calls)
        .containsSubsequence("join copying", "1.handOver", "2.freeze", "1.takeBack", "drop")
        .doesNotContain("steer");
  }

  /// The estimate of the source was wrong, or the target is slow.
  @Test
  void aGuestThatStandsTooLongGoesOnOnTheSource() {
    stage.on(
        "1.handOver",
        source -> {
          source.runState = RunState.SENDING;
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
        });

    ReplacementRecord record = replace(copying(Duration.ofSeconds(10)));

    assertThat(record.problem()).isEqualTo(Problem.REPLACE_DEADLINE.code());
    assertThat(record.detail()).contains("within 3200 ms");
    assertThat(stage.calls).containsSubsequence("steer", "2.freeze", "steer back", "1.takeBack");
  }

  /// Something may have kept the daemon from hearing of it.
  @Test
  void theTimeBeforeTheStopIsHeardCounts() {
    stage.on(
        "1.handOver",
        source -> {
          source.runState = RunState.SENDING;
          source.tell(new InstanceEvent.Stopped(1, Clock.realtimeNanos() / 1000 - 2_700_000));
        });

    ReplacementRecord record = replace(copying(Duration.ofSeconds(10)));

    assertThat(record.problem()).isEqualTo(Problem.REPLACE_DEADLINE.code());
    assertThat(record.totalMs()).as("500 of 3200 ms are left").isLessThan(2900);
  }

  /// Its owner paused it, and wants it to stay so.
  @Test
  void aStopOfSomebodyElseGivesTheCopyUpAndStays() {
    stage.on(
        "1.handOver",
        source -> {
          source.runState = RunState.PAUSED;
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
        });

    ReplacementRecord record = replace(copying(Duration.ofSeconds(10)));

    assertThat(record.problem()).isEqualTo(Problem.ADOPT_COPY.code());
    assertThat(record.detail()).contains("stopped while it was copied").contains("paused");
    assertThat(stage.calls)
        .containsSubsequence("2.freeze", "2.condemn", "steer back", "1.withdraw", "drop")
        .doesNotContain("1.takeBack", "1.resume");
  }

  /// It is busy with the rest of the memory.
  @Test
  void aSourceThatDoesNotSayIsTakenToHandOver() {
    stage.on(
        "1.handOver",
        source -> {
          stage.handOverFirst(source);
          source.asked =
              () -> {
                throw Problem.GUEST_STATE.because("It does not answer.");
              };
        });

    assertThat(replace(copying(Duration.ofSeconds(5))).committed()).isTrue();
  }

  @Test
  void portsThatCannotBeSteeredAreSteeredWhenTheTargetRuns() {
    ports.steeringFails = true;
    stage.handingOver();

    assertThat(replace(copying(Duration.ofSeconds(5))).committed()).isTrue();

    assertThat(stage.calls)
        .containsSubsequence("steer", "steer", "1.end", "keep")
        .doesNotContain("2.freeze");
  }

  @Test
  void withoutACopyPacketsGoToTheTargetBeforeTheOrder() {
    stage.handingOver();

    assertThat(replace(Optional.empty()).committed()).isTrue();

    assertThat(stage.calls)
        .containsSubsequence("join", "steer", "1.handOver", "keep")
        .containsOnlyOnce("steer");
  }
}
