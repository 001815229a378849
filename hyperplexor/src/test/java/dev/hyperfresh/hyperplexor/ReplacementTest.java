package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Replacements that succeed, and those that do not begin.
class ReplacementTest extends ReplacementScene {
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
            "2.settle",
            "1.end",
            "1.close",
            "2.takeAddresses",
            "2.pageFaults");
    assertThat(record.detail()).isEmpty();
    assertThat(states())
        .containsExactly("Planned", "Prepared", "Switching", "Committed", "Retired");
    assertThat(Journal.unfinished(folder.resolve("journal.log"))).isEmpty();
    assertRunsOn(Stage.NEW, 2);
    assertThat(stage.views.stream().map(GuestView::state))
        .containsExactly(
            GuestView.State.RUNNING, GuestView.State.REPLACING, GuestView.State.RUNNING);
  }

  /// The guest runs, and its owner learns what does not.
  @Test
  void anAddressThatTheTargetDoesNotGetIsInTheRecord() {
    stage.handingOver().amiss = Optional.of("It does not listen at :1. Free that.");
    List<String> steps = new ArrayList<>();
    progress = (state, text) -> steps.add(state + ": " + text);

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.problem()).isEmpty();
    assertThat(record.detail()).isEqualTo("It does not listen at :1. Free that.");
    assertThat(steps).contains("Committed: It does not listen at :1. Free that.");
    assertRunsOn(Stage.NEW, 2);
  }

  @Test
  void anUnknownFateOfTheAddressesIsToldOf() {
    stage.handingOver().failing("2.takeAddresses", new IllegalStateException("no answer"));

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.detail()).contains("not known whether it listens");
  }

  @Test
  void aSourceThatDoesNotEndKeepsItsAddresses() {
    HyperFreshException undead = Problem.INTERNAL.because("It does not end.");
    stage.handingOver().failing("1.end", undead).failing("1.kill", undead);

    ReplacementRecord record = replace(LONG);

    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(stage.replacementCalls()).contains("1.kill").doesNotContain("2.takeAddresses");
    assertThat(record.detail()).contains("cannot be ended", "the address of the guest's screen");
    stage.on("1.end", _ -> {}).on("1.kill", _ -> {});
    stage.actor(1).die("ended at last");
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
        .extracting(StagedRelease::code)
        .isEqualTo("HF-GUEST-003");
  }

  @Test
  void eventsFromBeforeTheSwitchDecideNothing() {
    stage
        .handingOver()
        .on("1.connect", source -> source.tell(new InstanceEvent.HandOverFailed(1, "stale")));

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
  }

  @Test
  void aTargetThatCannotBePopulatedIsUsedAllTheSame() {
    stage.handingOver().failing("2.populate", new IllegalStateException("not allowed"));

    assertThat(replace(LONG).outcome()).isEqualTo(Outcome.COMMITTED);
  }

  @Test
  void aSourceThatPowersItselfOffWhileItIsPreparedIsNoticed() {
    stage.on("1.connect", source -> source.die("powered off"));

    ReplacementRecord record = replace(LONG);

    assertThat(record.problem()).isEqualTo("HF-REPLACE-002");
    assertThat(record.detail()).isEqualTo(Stage.OLD.name() + " (source): powered off");
    assertThat(stage.replacementCalls()).doesNotContain("1.handOver");
    assertThat(guest.view().state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(guest.view().detail()).isEqualTo("powered off");
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

  /// As if the plan had been passed a moment ago.
  private ReplacementRecord unplanned(Duration maxBlackout) {
    return replace(maxBlackout, () -> {});
  }
}
