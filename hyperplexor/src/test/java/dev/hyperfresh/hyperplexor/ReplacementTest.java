package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(20)
class ReplacementTest {
  private static final Duration LONG = Duration.ofSeconds(10);
  private static final Duration SHORT = Duration.ofMillis(60);

  @TempDir Path folder;
  private Stage stage;
  private Guest guest;
  private Journal journal;
  private final SwitchGate gate = new SwitchGate(1);
  private Progress progress = Progress.NONE;

  @BeforeEach
  void raiseTheCurtain() {
    stage = new Stage(folder);
    guest = stage.guest("web1");
    journal = Journal.open(folder.resolve("journal.log"));
  }

  @AfterEach
  void fallTheCurtain() {
    stage.on("1.close", _ -> {}).on("2.close", _ -> {}).on("1.end", _ -> {});
    guest.delete();
    journal.close();
    stage.close();
    assertThat(gate.free()).as("places of the gate after any end").isEqualTo(1);
  }

  @Test
  void committed() {
    stage.handingOver();

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.committed()).isTrue();
    assertThat(record.from()).isEqualTo(Stage.OLD.name());
    assertThat(record.to()).isEqualTo(Stage.NEW.name());
    assertThat(record.accelerator()).isEqualTo("tcg");
    assertThat(record.blackoutMs()).hasValue(4.5);
    assertThat(record.clocks().lostMs()).hasValue(4.5);
    assertThat(record.phases().saveMs()).hasValue(3.0);
    assertThat(record.phases().loadMs()).hasValue(1.5);
    assertThat(record.ramBytesCopied()).hasValue(0);
    assertThat(record.stateBytes()).isEqualTo(4711);
    assertThat(record.guestGapMs()).isEmpty();
    assertThat(record.aftermath().slowdownPercent()).isEmpty();
    assertThat(record.aftermath().pageFaults().orElseThrow()).isPositive();
    assertThat(record.phases().rollBackMs()).isEmpty();
    assertThat(record.problem()).isEmpty();
    assertThat(stage.replacementCalls())
        .containsExactly(
            "2.startWaiting",
            "2.expect",
            "1.connect",
            "2.populate",
            "1.handOver",
            "2.pageFaults",
            "2.stateBytes",
            "1.ramBytesCopied",
            "1.end",
            "1.close",
            "2.pageFaults");
    assertThat(states())
        .containsExactly("Planned", "Prepared", "Switching", "Committed", "Retired");
    assertThat(Journal.unfinished(folder.resolve("journal.log"))).isEmpty();
    assertRunsOn(Stage.NEW, 2);
    assertThat(stage.views.stream().map(GuestView::state))
        .containsExactly(
            GuestView.State.RUNNING, GuestView.State.REPLACING, GuestView.State.RUNNING);
  }

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
  void aCommittedGuestMovesOn() {
    stage
        .handingOver()
        .on(
            "2.handOver",
            source -> {
              source.tell(new InstanceEvent.Stopped(2, 6_000_000));
              stage.actor(3).tell(new InstanceEvent.Resumed(3, 6_001_000));
            });

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);

    assertRunsOn(Stage.NEW, 3);
    assertThat(stage.actor(2).alive).isFalse();
  }

  @Test
  void everyLineOfTheJournalNamesBothGenerations() throws Exception {
    stage.handingOver();

    replace(LONG);

    assertThat(Files.readAllLines(folder.resolve("journal.log")))
        .hasSize(5)
        .allSatisfy(line ->
            assertThat(line)
                .matches(
                    "\\S+ id1 web1 \\S+ 1 2 "
                        + Stage.NEW.name().replace(".", "\\.")
                        + " [0-9a-f]{8}"));
  }

  @Test
  void obstaclesAreReportedTogetherAndNothingIsTouched() {
    stage.checks =
        List.of(
            Check.fail("one", "One.", "Do a."),
            Check.pass("fine", "Fine."),
            Check.unknown("open", "Open.", "Look."),
            Check.fail("two", "Two.", "Do b."));

    assertThatThrownBy(() -> replace(LONG))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(Problem.REPLACE_OBSTACLES);
              assertThat(refused.detail()).isEqualTo("One. Do a. Two. Do b.");
            });
    assertThat(stage.replacementCalls()).isEmpty();
    assertThat(states()).isEmpty();
    assertRunsOn(Stage.OLD, 1);
  }

  @Test
  void aGuestThatIsStoppedCannotMove() {
    guest.call(() -> {
      guest.stop(Duration.ZERO);
      return true;
    });

    assertThatThrownBy(() -> replace(LONG))
        .isInstanceOf(HyperFreshException.class)
        .extracting(Stage::code)
        .isEqualTo("HF-GUEST-003");
  }

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
        replace(LONG), "HF-REPLACE-003", Stage.OLD.name() + " (old): the disk is busy");
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

    assertRolledBack(replace(LONG), "HF-REPLACE-003", Stage.NEW.name() + " (new): unknown section");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void aTargetThatEndsWhileSwitchingRollsBack() {
    stage.on("1.handOver", _ -> stage.actor(2).die("it crashed"));

    assertRolledBack(replace(LONG), "HF-REPLACE-003", Stage.NEW.name() + " (new): it crashed");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void theDeadlineRollsBack() {
    ReplacementRecord record = replace(SHORT);

    assertRolledBack(record, "HF-REPLACE-004", "The target did not resume within 60 ms.");
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

    assertRolledBack(replace(SHORT), "HF-REPLACE-004", "The target did not resume within 60 ms.");
  }

  @Test
  void eventsFromBeforeTheSwitchDecideNothing() {
    stage
        .handingOver()
        .on("1.connect", source -> source.tell(new InstanceEvent.HandOverFailed(1, "stale")));

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
  }

  @Test
  void aSourceThatCannotSendRollsBack() {
    stage.failing("1.handOver", aLinuxException());

    assertThat(replace(LONG).problem()).isEqualTo("HF-REPLACE-003");
    assertTakenBackAfterTheTargetIsGone();
    assertRunsOn(Stage.OLD, 1);
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

  /// Only a request continues it, and no answer of its hypervisor.
  private void assertInDoubt(ReplacementRecord record) {
    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.problem()).isEqualTo("HF-REPLACE-008");
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack", "1.kill", "1.end");
    assertRunsOn(Stage.OLD, 1);
    assertThat(guest.view().detail()).startsWith("stands: ");
    assertThat(writtenDown().doubt()).isPresent();

    actorOne().runState = RunState.SENT;
    actorOne().tell(new InstanceEvent.Answering(1));
    assertMailboxEmpty();
    assertThat(stage.replacementCalls()).doesNotContain("1.takeBack");
    assertThat(Stage.code(catchThrowable(() -> replace(SHORT)))).isEqualTo("HF-REPLACE-001");

    resume();
    assertThat(stage.replacementCalls()).contains("1.takeBack");
    assertThat(writtenDown().doubt()).isEmpty();
  }

  private GuestFile writtenDown() {
    return GuestFile.read(folder).orElseThrow();
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

  // From here on: faults of other parts. None of them may leave the guest between two states.

  @Test
  void aSourceThatIsGoneBeforeItConnectsDoesNotWedgeTheGuest() {
    stage.on(
        "1.connect",
        source -> {
          source.die("powered off");
          throw new IllegalStateException("the control channel is closed");
        });

    tolerantly(LONG);

    assertNotWedged();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(stage.actor(2).alive).as("the target is discarded").isFalse();
  }

  @Test
  void aSourceThatIsGoneBeforeItHandsOverDoesNotWedgeTheGuest() {
    stage.on("1.connect", source -> source.die("powered off"));
    stage.failing("1.handOver", new IllegalStateException("the control channel is closed"));
    stage.failing("1.takeBack", Problem.REPLACE_LOST.because("It is dead."));

    tolerantly(LONG);

    assertNotWedged();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(stage.actor(2).alive).as("the target is discarded").isFalse();
  }

  @ParameterizedTest
  @MethodSource("troubles")
  void aSourceThatLivesIsKeptWhateverTakingItBackThrows(Throwable trouble) {
    stage.on("1.takeBack", _ -> sneak(trouble));

    assertThat(replace(SHORT).problem()).isEqualTo("HF-REPLACE-007");

    assertRunsOn(Stage.OLD, 1);
    assertThat(stage.replacementCalls()).doesNotContain("1.kill", "1.end");
  }

  static List<Throwable> troubles() {
    return List.of(
        new IllegalStateException("the control channel is closed"),
        Problem.REPLACE_LOST.because("It is dead, says somebody."),
        new NoClassDefFoundError("a class"),
        new OutOfMemoryError("Java heap space"));
  }

  @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
  private static <T extends Throwable> void sneak(Throwable trouble) throws T {
    throw (T) trouble;
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "2.startWaiting",
        "2.expect",
        "1.connect",
        "2.populate",
        "1.handOver",
        "2.freeze",
        "2.condemn",
        "1.ramBytesCopied",
        "1.end",
        "1.close",
        "2.close"
      })
  void anErrorOfTheVirtualMachineAtAnyStepEndsTheReplacementAsATroubleDoes(String call) {
    if (!call.startsWith("2.f") && !call.startsWith("2.cond") && !call.equals("2.close")) {
      stage.handingOver();
    }
    stage.ran = Optional.of(false);
    stage.on(call, _ -> sneak(new OutOfMemoryError("Java heap space")));

    var _ = tolerantly(SHORT);

    assertNotWedged();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(guest.call(guest::running).ended()).isFalse();
  }

  @Test
  void aSourceThatCannotBeAskedAfterTheCommitIsRetired() {
    stage.handingOver().failing("1.ramBytesCopied", new IllegalStateException("it is gone"));

    tolerantly(LONG);

    assertRunsOn(Stage.NEW, 2);
    assertThat(stage.actor(1).alive).as("the source is ended").isFalse();
    assertThat(states()).endsWith("Retired");
  }

  @Test
  void aFullDiskWhileTheTargetIsClosedDoesNotKeepTheGuestStopped() {
    stage.failing("2.close", new UncheckedIOException(new IOException("No space left on device")));

    tolerantly(SHORT);

    assertThat(stage.replacementCalls()).contains("1.takeBack");
    assertRunsOn(Stage.OLD, 1);
  }

  @Test
  void aJournalThatCannotBeWrittenDoesNotWedgeTheGuest() {
    stage.handingOver();
    journal.close();

    tolerantly(LONG);

    assertNotWedged();
    assertRunsOn(Stage.OLD, 1);
  }

  @Test
  void aListenerThatThrowsDoesNotWedgeTheGuest() {
    stage.handingOver();
    progress =
        (_, _) -> {
          throw new UncheckedIOException(new IOException("Broken pipe"));
        };

    tolerantly(LONG);

    assertNotWedged();
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
  void aTargetThatEndsRightAfterItResumedIsNoticed() {
    stage.on(
        "1.handOver",
        source -> {
          stage.actor(2).tell(new InstanceEvent.Resumed(2, 5_004_500));
          stage.actor(2).die("it crashed");
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
        });

    tolerantly(LONG);

    assertNotWedged();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(guest.view().detail()).isEqualTo("it crashed");
  }

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
  void aSourceThatEndsBeforeItStoppedTheGuestHasSentNothingToWaitFor() {
    stage.on("1.handOver", source -> source.die("it crashed"));
    stage.failing("1.takeBack", Problem.REPLACE_LOST.because("It is dead."));

    assertFailed(replace(LONG));

    assertThat(stage.replacementCalls()).containsSubsequence("2.freeze", "2.kill", "2.close");
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
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
  void aTargetThatCannotBeFrozenIsKilled() {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));
    stage.ran = Optional.of(false);

    assertRolledBack(replace(SHORT), "HF-REPLACE-004", "The target did not resume within 60 ms.");
    assertTakenBackAfterTheTargetIsGone();
  }

  @Test
  void aTargetThatCannotBeFrozenAndLeavesNoLogLeavesTheGuestInDoubt() {
    stage.failing("2.freeze", Problem.REPLACE_SWITCH.because("A thread goes on."));

    assertInDoubt(replace(SHORT));
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
    assertThat(guest.view().detail()).startsWith("stands: ");
    assertThat(writtenDown().waiting()).as("for the next daemon").isPresent();
    assertThatThrownBy(this::resume).extracting(Stage::code).isEqualTo("HF-REPLACE-007");

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
  void whatStateAGuestIsInDecidesWhetherItMoves(RunState state) {
    stage.handingOver();
    actorOne().runState = state;

    ReplacementRecord record = unplanned(LONG);

    boolean moves = state == RunState.RUNNING;
    assertThat(record.outcome()).isEqualTo(moves ? Outcome.COMMITTED : Outcome.ROLLED_BACK);
    if (!moves) {
      assertThat(record.problem()).isEqualTo("HF-REPLACE-002");
      assertThat(record.detail()).contains(state.label());
      assertThat(stage.replacementCalls()).doesNotContain("1.handOver", "1.takeBack", "1.resume");
    }
  }

  @ParameterizedTest
  @EnumSource(RunState.class)
  void whatStateAGuestIsInDecidesHowItIsResumedAndStopped(RunState state) {
    actorOne().runState = state;
    stage.on("1.powerOff", actor -> actor.die("powered off"));

    String code = Stage.code(catchThrowable(this::resume));

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

  @Test
  void aFrozenTargetIsNotWaitedForBeforeTheSourceGoesOn() {
    assertThat(replace(SHORT).phases().rollBackMs().orElseThrow()).isBetween(0.0, 50.0);
    assertThat(stage.replacementCalls())
        .containsSubsequence("2.freeze", "2.condemn", "1.takeBack", "2.kill", "2.close");
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
    assertThat(guest.view().detail()).startsWith("stands: ");
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
    assertThatThrownBy(this::resume).extracting(Stage::code).isEqualTo("HF-REPLACE-007");
    assertThat(guest.view().detail()).startsWith("stands: ");

    stage.on("1.takeBack", source -> source.runState = RunState.RUNNING);
    resume();
    assertThat(guest.view().detail()).isEmpty();
  }

  @Test
  void aTargetThatCannotBePopulatedIsUsedAllTheSame() {
    stage.handingOver().failing("2.populate", new IllegalStateException("not allowed"));

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
  }

  private void resume() {
    guest.call(() -> {
      guest.resume();
      return true;
    });
  }

  @Test
  void aSourceThatPowersItselfOffWhileItIsPreparedIsNoticed() {
    stage.on("1.connect", source -> source.die("powered off"));

    ReplacementRecord record = replace(LONG);

    assertThat(record.problem()).isEqualTo("HF-REPLACE-002");
    assertThat(record.detail()).isEqualTo(Stage.OLD.name() + " (old): powered off");
    assertThat(stage.replacementCalls()).doesNotContain("1.handOver");
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(guest.view().detail()).isEqualTo("powered off");
  }

  @Test
  void aSourceThatCannotTellWhatItCopiedLeavesThatUnknown() {
    stage.handingOver().failing("1.ramBytesCopied", new IllegalStateException("it is gone"));

    assertThat(replace(LONG).ramBytesCopied()).isEmpty();
  }

  @Test
  void aGuestWaitsForItsTurnBeforeItsOrderIsOut() throws Exception {
    stage.handingOver();
    SwitchGate.Pass other = gate.enter();

    CompletableFuture<ReplacementRecord> moving =
        CompletableFuture.supplyAsync(() -> replace(LONG));
    awaitState("Prepared");
    assertThat(moving).isNotDone();
    assertThat(stage.replacementCalls()).contains("1.connect").doesNotContain("1.handOver");
    other.leave();

    assertThat(moving.get(10, TimeUnit.SECONDS).outcome()).isEqualTo(Outcome.COMMITTED);
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void theNextGuestMaySwitchAsSoonAsTheTargetHasResumed() {
    stage
        .handingOver()
        .on("2.stateBytes", _ -> assertThat(gate.free()).as("places after the commit").isOne())
        .on("1.end", source -> assertThat(gate.free()).isOne());

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(stage.replacementCalls()).contains("2.stateBytes", "1.end");
  }

  @Test
  void nobodyElseSwitchesWhileTheOrderIsOut() {
    int[] places = {-1, -1};
    stage.on(
        "1.handOver",
        source -> {
          places[0] = gate.free();
          source.tell(new InstanceEvent.HandOverFailed(1, "no"));
        });
    stage.on("1.takeBack", _ -> places[1] = gate.free());

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(places).as("places when ordered, and when taken back").containsExactly(0, 0);
  }

  @Test
  void aGuestThatIsInterruptedBeforeItsTurnGoesOnWhereItIs() throws Exception {
    List<Thread> thread = new CopyOnWriteArrayList<>();
    stage.handingOver().on("1.connect", _ -> thread.add(Thread.currentThread()));
    SwitchGate.Pass other = gate.enter();

    CompletableFuture<ReplacementRecord> moving =
        CompletableFuture.supplyAsync(() -> replace(LONG));
    awaitState("Prepared");
    // An interrupt while the journal is written would close it.
    while (thread.getFirst().getState() != Thread.State.WAITING) {
      LockSupport.parkNanos(1_000_000);
    }
    thread.getFirst().interrupt();

    assertRolledBack(
        moving.get(10, TimeUnit.SECONDS),
        "HF-REPLACE-002",
        "It was interrupted before its turn to switch.");
    assertThat(stage.replacementCalls()).doesNotContain("1.handOver", "1.takeBack");
    other.leave();
    other.leave();
  }

  private void awaitState(String state) {
    long deadline = System.nanoTime() + LONG.toNanos();
    while (!states().contains(state)) {
      assertThat(System.nanoTime()).as("no " + state + " in time").isLessThan(deadline);
      LockSupport.parkNanos(1_000_000);
    }
  }

  private Stage.Actor actorOne() {
    return stage.actor(1);
  }

  private ReplacementRecord replace(Duration maxBlackout) {
    return replace(
        maxBlackout,
        new Preflight(
                guest, Stage.NEW, Preflight.Rehearsing.LEFT_OUT, new ReentrantLock(), progress)
            ::require);
  }

  /// As if the plan had been passed a moment ago.
  private ReplacementRecord unplanned(Duration maxBlackout) {
    return replace(maxBlackout, () -> {});
  }

  private ReplacementRecord replace(Duration maxBlackout, Runnable plan) {
    return guest.call(() ->
        new Replacement(
                "id1",
                guest,
                Stage.NEW,
                new BlackoutLimit(maxBlackout),
                new Surroundings.OfHost(journal, gate),
                plan,
                progress)
            .run());
  }

  /// A replacement that may also end with an exception; what counts is what it leaves behind.
  private Optional<ReplacementRecord> tolerantly(Duration maxBlackout) {
    try {
      return Optional.of(replace(maxBlackout));
    } catch (HyperFreshException e) {
      return Optional.empty();
    }
  }

  private static RuntimeException aLinuxException() {
    try {
      dev.hyperfresh.linux.UnixSocket.connect(Path.of("/nonexistent"));
      throw new AssertionError("connected to nothing");
    } catch (dev.hyperfresh.linux.LinuxException e) {
      return e;
    }
  }

  private List<String> states() {
    try {
      return Files.readAllLines(folder.resolve("journal.log")).stream()
          .map(line -> line.split(" ")[3])
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void assertRunsOn(Stage.Build release, int generation) {
    assertMailboxEmpty();
    assertThat(guest.view().state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(guest.view().release()).isEqualTo(release.name());
    assertThat(guest.view().pid()).isEqualTo(1_000_000_000 + generation);
    assertThat(stage.actor(generation).alive).isTrue();
    assertThat(guest.call(guest::running).generation()).isEqualTo(generation);
    assertThat(stage.actors.stream().filter(actor -> actor.alive).count()).isEqualTo(1);
  }

  private void assertRolledBack(ReplacementRecord record, String problem, String detail) {
    assertThat(record.outcome()).isEqualTo(Outcome.ROLLED_BACK);
    assertThat(record.committed()).isFalse();
    assertThat(record.problem()).isEqualTo(problem);
    assertThat(record.detail()).isEqualTo(detail);
    assertThat(record.blackoutMs()).isEmpty();
    assertThat(states()).endsWith("RolledBack");
    assertThat(Journal.unfinished(folder.resolve("journal.log"))).isEmpty();
    assertRunsOn(Stage.OLD, 1);
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

  private void assertNotWedged() {
    assertMailboxEmpty();
    assertThat(guest.view().state()).isNotEqualTo(GuestView.State.REPLACING);
    assertThat(stage.actors.stream().filter(actor -> actor.alive).count()).isLessThanOrEqualTo(1);
  }

  private void assertMailboxEmpty() {
    assertThat(guest.call(() -> guest.mailbox().isEmpty())).isTrue();
  }
}
