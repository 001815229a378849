package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.RunState;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/// What the guest asks of a hypervisor that is being replaced, and what an operator asks of a guest
/// in each of its states.
class GuestRequestTest extends ReplacementScene {
  @Test
  void aGuestThatPowersOffBeforeItsStopIsStoppedAndNotLost() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.PoweredOff(1));
          source.die("the hypervisor closed its control channel");
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.problem()).isEqualTo("HF-REPLACE-009");
    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(guest.view().detail()).isEqualTo("powered off by itself");
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  /// Found by the simulation: the target's end was read first, and the source was resumed.
  @Test
  void aGuestThatPowersOffWhileItsTargetDiesStaysOff() {
    stage.on(
        "1.handOver",
        source -> {
          stage.actor(2).die("killed");
          source.tell(new InstanceEvent.PoweredOff(1));
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.problem()).isEqualTo("HF-REPLACE-009");
    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  /// Its end is not known yet when its clock is to be set.
  @Test
  void aGuestThatPowersOffInASwitchDoesNotUndoItsCommit() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          source.tell(new InstanceEvent.PoweredOff(1));
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
        });

    ReplacementRecord record = replaceSteppingTheClock();

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.clocks().steppedMs()).isEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
  }

  @ParameterizedTest
  @ValueSource(strings = {"before", "after"})
  void aGuestThatPowersOffBetweenItsStopAndItsResumeIsPoweredOffWhereItIs(String when) {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          if (when.equals("before")) {
            source.tell(new InstanceEvent.PoweredOff(1));
          }
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
        });
    stage.on(
        "1.ramBytesCopied",
        source -> {
          if (when.equals("after")) {
            source.tell(new InstanceEvent.PoweredOff(1));
          }
        });

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);

    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(guest.view().detail()).isEqualTo("powered off by itself");
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  @Test
  void aResetBetweenStopAndResumeIsMadeWhereTheGuestIs() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          source.tell(new InstanceEvent.Reset(1));
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 3_000));
        });

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);

    assertRunsOn(Stage.NEW, 2);
    assertThat(stage.replacementCalls()).contains("2.reset");
  }

  @ParameterizedTest
  @EnumSource(RunState.class)
  void whatStateAGuestIsInDecidesHowItIsResumedAndStopped(RunState state) {
    actorOne().runState = state;
    stage.on("1.powerOff", actor -> actor.die("powered off"));

    String code = StagedRelease.code(catchThrowable(this::resume));

    List<String> calls = stage.replacementCalls();
    assertThat(code.equals("HF-GUEST-003")).isEqualTo(state.resume() == RunState.Resume.REFUSED);
    assertThat(calls.contains("1.wake")).isEqualTo(state == RunState.SUSPENDED);
    assertThat(calls.contains("1.resume") || calls.contains("1.takeBack"))
        .isEqualTo(state.resume() == RunState.Resume.CONTINUE);
    guest.call(() -> {
      guest.stop(LONG);
      return true;
    });
    assertThat(stage.replacementCalls().contains("1.powerOff")).isEqualTo(state.isLive());
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
  }
}
