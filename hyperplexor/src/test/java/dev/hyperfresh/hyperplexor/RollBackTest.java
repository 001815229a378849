package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Whatever goes wrong before the target has resumed the guest leads back to the source, or says
/// that the guest is lost.
class RollBackTest extends ReplacementScene {
  @Test
  void aTargetThatDoesNotStartLeavesTheSourceAlone() {
    stage.failing("2.startWaiting", Problem.REPLACE_PREPARE.because("It says no."));

    assertRolledBack(replace(LONG), "HF-REPLACE-002", "It says no.");
    assertThat(stage.replacementCalls()).containsExactly("2.startWaiting");
    assertThat(states()).containsExactly("Planned", "RolledBack");
  }

  @Test
  void aTargetThatCannotExpectIsDiscarded() {
    stage.failing("2.expect", Problem.REPLACE_PREPARE.because("No channel."));

    assertRolledBack(replace(LONG), "HF-REPLACE-002", "No channel.");
    assertThat(stage.replacementCalls())
        .containsExactly("2.startWaiting", "2.expect", "2.kill", "2.close");
  }

  @Test
  void aSourceThatCannotConnectGoesOn() {
    stage.failing("1.connect", Problem.REPLACE_PREPARE.because("No channel."));

    assertRolledBack(replace(LONG), "HF-REPLACE-002", "No channel.");
    assertThat(stage.replacementCalls())
        .containsExactly("2.startWaiting", "2.expect", "1.connect", "2.kill", "2.close");
  }

  @Test
  void aFailureOnTheSourceRollsBack() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1));
          source.tell(new InstanceEvent.HandOverFailed(1, "the disk is busy"));
        });

    assertRolledBack(
        replace(LONG), "HF-REPLACE-003", Stage.OLD.name() + " (source): the disk is busy");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void aFailureOnTheTargetRollsBack() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1));
          source.tell(new InstanceEvent.HandOverSent(1, 1));
          stage.actor(2).tell(new InstanceEvent.HandOverFailed(2, "unknown section"));
        });

    assertRolledBack(
        replace(LONG), "HF-REPLACE-003", Stage.NEW.name() + " (target): unknown section");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void aTargetThatEndsWhileSwitchingRollsBack() {
    stage.on("1.handOver", _ -> stage.actor(2).die("it crashed"));

    assertRolledBack(replace(LONG), "HF-REPLACE-003", Stage.NEW.name() + " (target): it crashed");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void theDeadlineRollsBack() {
    ReplacementRecord record = replace(SHORT);

    assertRolledBack(record, "HF-REPLACE-004", "The target did not resume the guest within 60 ms.");
    assertThat(record.totalMs()).isGreaterThanOrEqualTo(60);
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void eventsOfOthersDecideNothing() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Resumed(1, 1));
          source.tell(new InstanceEvent.Resumed(7, 1));
          source.tell(new InstanceEvent.Stopped(2, 1));
          source.tell(new InstanceEvent.HandOverSent(1, 1));
          source.tell(new InstanceEvent.PoweredOff(2));
          source.tell(new InstanceEvent.Ended(7, "long gone"));
        });

    assertRolledBack(
        replace(SHORT), "HF-REPLACE-004", "The target did not resume the guest within 60 ms.");
  }

  @Test
  void aSourceThatCannotSendRollsBack() {
    stage.failing("1.handOver", aLinuxException());

    assertThat(replace(LONG).problem()).isEqualTo("HF-REPLACE-003");
    assertTakenBackAfterTheTargetIsGone();
    assertRunsOn(Stage.OLD, 1);
  }

  @Test
  void aTargetThatCannotBeFrozenIsKilled() {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));
    stage.ran = Optional.of(false);

    assertRolledBack(
        replace(SHORT), "HF-REPLACE-004", "The target did not resume the guest within 60 ms.");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void aFrozenTargetIsNotWaitedForBeforeTheSourceGoesOn() {
    assertThat(replace(SHORT).phases().rollBackMs().orElseThrow()).isBetween(0.0, 50.0);
    assertThat(stage.replacementCalls())
        .containsSubsequence("2.freeze", "2.condemn", "1.takeBack", "2.kill", "2.close");
  }

  @Test
  void afterARollBackTheNextReplacementSucceeds() {
    stage.on("1.handOver", source -> source.tell(new InstanceEvent.HandOverFailed(1, "once")));
    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.ROLLED_BACK);
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          stage.actor(3).tell(new InstanceEvent.Resumed(3, 2_000));
        });

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);

    assertRunsOn(Stage.NEW, 3);
  }

  @Test
  void aSourceThatHasEndedWhenItIsTakenBackMeansThatTheGuestIsLost() {
    stage.on(
        "1.takeBack",
        source -> {
          source.die("it crashed");
          throw Problem.REPLACE_LOST.because("It is dead.");
        });

    ReplacementRecord record = replace(SHORT);

    assertFailed(record);
    assertThat(record.detail()).isEqualTo("It is dead.");
    assertThat(stage.replacementCalls())
        .containsSubsequence("2.freeze", "2.condemn", "1.takeBack", "2.kill", "2.close", "1.close")
        .doesNotContain("1.kill");
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  @Test
  void aSourceThatEndsBeforeItStoppedTheGuestHasSentNothingToWaitFor() {
    stage.on("1.handOver", source -> source.die("it crashed"));
    stage.failing("1.takeBack", Problem.REPLACE_LOST.because("It is dead."));

    assertFailed(replace(LONG));

    assertThat(stage.replacementCalls()).containsSubsequence("2.freeze", "2.kill", "2.close");
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  private static RuntimeException aLinuxException() {
    try {
      dev.hyperfresh.linux.UnixSocket.connect(Path.of("/nonexistent"));
      throw new AssertionError("connected to nothing");
    } catch (dev.hyperfresh.linux.LinuxException e) {
      return e;
    }
  }

  private void assertTakenBackAfterTheTargetIsGone() {
    List<String> calls = stage.replacementCalls();
    assertThat(calls).contains("2.kill", "1.takeBack").doesNotContain("1.end", "1.kill");
    int harmless =
        calls.contains("2.condemn") ? calls.indexOf("2.condemn") : calls.indexOf("2.kill");
    assertThat(harmless).isLessThan(calls.indexOf("1.takeBack"));
    assertThat(stage.actor(2).alive).isFalse();
    assertThat(stage.actor(2).closed).isTrue();
  }

  private void assertFailed(ReplacementRecord record) {
    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(record.outcome()).isEqualTo(Outcome.FAILED);
    assertThat(record.problem()).isEqualTo("HF-REPLACE-005");
    assertThat(states()).endsWith("Failed");
    assertThatThrownBy(() -> guest.call(guest::running)).isInstanceOf(HyperFreshException.class);
  }
}
