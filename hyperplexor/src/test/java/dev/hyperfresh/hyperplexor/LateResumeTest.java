package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

/// A target that has resumed the guest has it, whatever was heard first; and one that alone can
/// still do so is waited for.
class LateResumeTest extends ReplacementScene {
  @Test
  void aTargetThatResumedJustBeforeTheDeadlineGoesOn() {
    stage.on(
        "2.freeze",
        target -> {
          actorOne().tell(new InstanceEvent.Stopped(1, 1_000));
          target.tell(new InstanceEvent.Resumed(2, 3_000));
        });

    ReplacementRecord record = replace(SHORT);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.blackoutMs()).hasValue(2);
    assertThat(stage.replacementCalls())
        .containsSubsequence("2.freeze", "2.thaw", "1.end")
        .doesNotContain("2.kill", "1.takeBack");
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void aFailureThatIsHeardBeforeTheResumeDoesNotKillTheRunningGuest() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.HandOverFailed(1, "it only seemed so"));
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
          source.tell(new InstanceEvent.Stopped(1, 1_000));
        });

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void aTargetWhoseSourceIsGoneIsWaitedForBeyondTheDeadline() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          source.die("it crashed");
          Thread.ofPlatform()
              .start(() -> {
                LockSupport.parkNanos(4 * SHORT.toNanos());
                stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
              });
        });

    assertThat(replace(SHORT).outcome()).isEqualTo(Outcome.COMMITTED);
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void aTargetWhoseSourceDiesWhileItIsFrozenIsWaitedForOnceMore() {
    stage.on("1.handOver", source -> source.tell(new InstanceEvent.Stopped(1, 1_000)));
    stage.on("2.freeze", _ -> stage.actor(1).die("it crashed"));
    stage.on("2.thaw", target -> target.tell(new InstanceEvent.Resumed(2, 3_000)));

    assertThat(replace(SHORT).outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(stage.replacementCalls()).doesNotContain("2.condemn", "2.kill");
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void aTargetThatResumedAndCannotBeFrozenGoesOn() {
    stage.on("1.handOver", source -> source.tell(new InstanceEvent.Stopped(1, 1_000)));
    stage.on(
        "2.freeze",
        target -> {
          target.tell(new InstanceEvent.Resumed(2, 3_000));
          throw Problem.REPLACE_SWITCH.because("No descriptor is left to look.");
        });

    assertThat(replace(SHORT).outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(stage.replacementCalls()).contains("2.thaw").doesNotContain("2.kill", "1.takeBack");
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void aSourceThatEndsAfterItSentEverythingDoesNotMatter() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          source.die("it crashed");
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.blackoutMs()).hasValue(2);
    assertRunsOn(Stage.NEW, 2);
  }
}
