package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

/// What a replacement takes, and what the guest's clocks lose by it.
class ReplacementFiguresTest extends ReplacementScene {
  @Test
  void theClocksLoseWhatTheHypervisorsNoted() {
    stage.handingOver();
    stage.on(
        "2.stateBytes",
        target -> {
          stage.actor(1).clocksStopped = OptionalLong.of(4_999_700);
          target.clocksStarted = OptionalLong.of(5_004_900);
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.blackoutMs()).hasValue(4.5);
    assertThat(record.clocks().lostMs()).hasValue(5.2);
    assertLost(5_200);
  }

  @Test
  void whatWasNotedOfAnotherStopDoesNotCount() {
    stage.handingOver();
    stage.on("2.stateBytes", _ -> stage.actor(1).clocksStopped = OptionalLong.of(1_000_000));

    assertThat(replace(LONG).clocks().lostMs()).hasValue(4.5);
    assertLost(4_500);
  }

  @Test
  void aRollBackCostsTheClocksToo() {
    stage
        .on(
            "1.handOver",
            source -> {
              source.tell(new InstanceEvent.Stopped(1, 5_000_000));
              source.tell(new InstanceEvent.HandOverFailed(1, "no room"));
            })
        .on("1.takeBack", source -> source.tell(new InstanceEvent.Resumed(1, 5_020_000)));

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.clocks().lostMs()).hasValue(20.0);
    assertLost(20_000);
  }

  @Test
  void aGuestThatNeverStoodLosesNothing() {
    stage.on("1.handOver", source -> source.tell(new InstanceEvent.HandOverFailed(1, "no room")));

    assertThat(replace(LONG).clocks().lostMs()).hasValue(0);
    assertLost(0);
  }

  @Test
  void aStopOutsideOfAReplacementCostsThemToo() {
    actorOne().tell(new InstanceEvent.Stopped(1, 1_000_000));
    actorOne().tell(new InstanceEvent.Resumed(1, 3_500_000));
    guest.call(() -> true);

    assertLost(2_500_000);
  }

  /// By the guest, and by what the next daemon reads.
  private void assertLost(long micros) {
    assertThat(guest.view().clockLoss()).isEqualTo(new ClockLoss(micros, 0));
    assertThat(GuestFile.read(folder).orElseThrow().clockLoss())
        .isEqualTo(new ClockLoss(micros, 0));
  }

  @Test
  void theBlackoutBeginsWithTheSourcesStopEvenWhenThatIsHeardLater() {
    stage.on(
        "1.handOver",
        source -> {
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 5_004_500));
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          source.tell(new InstanceEvent.HandOverSent(1, 5_001_000));
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.blackoutMs()).hasValue(4.5);
    assertThat(record.phases().saveMs()).hasValue(1.0);
    assertThat(record.phases().loadMs()).hasValue(3.5);
  }

  @Test
  void clocksThatDisagreeLeaveTheSumOfThePhases() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          source.tell(new InstanceEvent.HandOverSent(1, 5_009_000));
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 5_004_500));
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.phases().saveMs()).hasValue(4.5);
    assertThat(record.phases().loadMs()).hasValue(0.0);
  }

  @Test
  void aSourceThatDoesNotSayThatItHasSentEverythingLeavesThePhasesOpen() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 5_004_500));
        });

    ReplacementRecord record = replace(LONG);

    assertThat(record.blackoutMs()).hasValue(4.5);
    assertThat(record.phases().saveMs()).isEmpty();
    assertThat(record.phases().loadMs()).isEmpty();
  }

  @Test
  void aSourceThatCannotTellWhatItCopiedLeavesThatUnknown() {
    stage.handingOver().failing("1.ramBytesCopied", new IllegalStateException("it is gone"));

    assertThat(replace(LONG).ramBytesCopied()).isEmpty();
  }
}
