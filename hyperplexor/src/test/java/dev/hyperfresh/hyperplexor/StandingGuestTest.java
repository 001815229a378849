package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Guests that stand after a roll-back: in doubt, because their target does not end, or because
/// their source does not answer.
class StandingGuestTest extends ReplacementScene {
  @Test
  void aTargetThatHadResumedWhenItWasKilledLeavesTheGuestInDoubt() {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));
    stage.on("2.kill", target -> target.tell(new InstanceEvent.Resumed(2, 1)));

    assertInDoubt(replace(SHORT));
  }

  @Test
  void aTargetOfWhichOnlyTheLogSaysThatItRanLeavesTheGuestInDoubt() {
    stage.on("2.freeze", target -> target.die("killed by somebody"));
    stage.ran = Optional.of(true);

    assertInDoubt(replace(SHORT));
  }

  @Test
  void aTargetThatCannotBeFrozenAndLeavesNoLogLeavesTheGuestInDoubt() {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));

    assertInDoubt(replace(SHORT));
  }

  /// Only a request continues it, and no answer of its hypervisor.
  private void assertInDoubt(ReplacementRecord record) {
    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.problem()).isEqualTo("HF-REPLACE-008");
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack", "1.kill", "1.end");
    assertRunsOn(Stage.OLD, 1);
    assertThat(guest.view().detail()).startsWith("paused: ");
    assertThat(writtenDown().doubt()).isPresent();

    actorOne().runState = RunState.SENT;
    actorOne().tell(new InstanceEvent.Answering(1));
    assertMailboxEmpty();
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack");
    assertThat(StagedRelease.code(catchThrowable(() -> replace(SHORT))))
        .isEqualTo("HF-REPLACE-001");

    resume();
    assertThat(stage.replacementCalls()).contains("1.takeBack");
    assertThat(writtenDown().doubt()).isEmpty();
  }

  private GuestFile writtenDown() {
    return GuestFile.read(folder).orElseThrow();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aSourceWaitsForTheEndOfATargetThatCannotBeKilled(boolean targetRan) {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));
    stage.failing("2.kill", Problem.INTERNAL.because("It stays."));
    stage.on("1.handOver", source -> source.runState = RunState.SENT);

    ReplacementRecord record = replace(SHORT);

    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.problem()).isEqualTo("HF-REPLACE-007");
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack", "1.kill", "1.end", "2.close");
    assertThat(guest.view().state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(guest.view().detail()).startsWith("paused: ");
    assertThat(writtenDown().waiting()).as("for the next daemon").isPresent();
    assertThatThrownBy(this::resume).extracting(StagedRelease::code).isEqualTo("HF-REPLACE-007");

    stage.ran = Optional.of(targetRan);
    stage.on("1.takeBack", source -> source.runState = RunState.RUNNING);
    stage.actor(2).die("at last");

    assertMailboxEmpty();
    assertThat(stage.replacementCalls().contains("1.takeBack")).isEqualTo(!targetRan);
    assertThat(stage.actor(2).closed).isTrue();
    assertThat(writtenDown().doubt().isPresent()).isEqualTo(targetRan);
    assertThat(guest.view().detail().isEmpty()).isEqualTo(!targetRan);
  }

  @Test
  void aTargetThatMayNotBeKilledNeverMeetsARunningSource() {
    stage.failing("2.condemn", Problem.INTERNAL.because("It stays."));

    assertThat(replace(SHORT).problem()).isEqualTo("HF-REPLACE-007");
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack", "1.kill");
  }

  @Test
  void aSourceThatDoesNotAnswerIsKeptAndGoesOnWhenItAnswersAgain() {
    stage.failing("1.takeBack", Problem.REPLACE_STANDS.because("No answer."));

    ReplacementRecord record = replace(SHORT);

    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.problem()).isEqualTo("HF-REPLACE-007");
    assertThat(record.detail()).contains("within 60 ms.", "No answer.");
    assertRunsOn(Stage.OLD, 1);
    assertThat(guest.view().detail()).startsWith("paused: ");
    assertThat(stage.replacementCalls()).doesNotContain("1.kill", "1.end");

    stage.on("1.takeBack", _ -> {});
    actorOne().tell(new InstanceEvent.Answering(1));
    assertRunsOn(Stage.OLD, 1);
    assertThat(guest.view().detail()).isEmpty();
    assertThat(stage.calls.stream().filter("1.takeBack"::equals)).hasSize(2);
  }

  @Test
  void anAnswerThatComesBeforeTheEndOfTheReplacementIsNotForgotten() {
    stage.on(
        "1.takeBack",
        source -> {
          stage.on("1.takeBack", _ -> {});
          source.tell(new InstanceEvent.Answering(1));
          throw Problem.REPLACE_STANDS.because("No answer.");
        });

    assertThat(replace(SHORT).problem()).isEqualTo("HF-REPLACE-007");

    assertRunsOn(Stage.OLD, 1);
    assertThat(guest.view().detail()).isEmpty();
  }

  @Test
  void aGuestThatStandsIsContinuedByRequest() {
    stage.failing("1.takeBack", Problem.REPLACE_STANDS.because("The image is locked."));
    replace(SHORT);
    actorOne().runState = RunState.SENT;
    assertThatThrownBy(this::resume).extracting(StagedRelease::code).isEqualTo("HF-REPLACE-007");
    assertThat(guest.view().detail()).startsWith("paused: ");

    stage.on("1.takeBack", source -> source.runState = RunState.RUNNING);
    resume();
    assertThat(guest.view().detail()).isEmpty();
  }
}
