package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Faults of other parts. None of them may leave the guest between two states.
class ReplacementFaultTest extends ReplacementScene {
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
        "2.takeAddresses",
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

  /// A replacement that may also end with an exception; what counts is what it leaves behind.
  private Optional<ReplacementRecord> tolerantly(Duration maxBlackout) {
    try {
      return Optional.of(replace(maxBlackout));
    } catch (HyperFreshException e) {
      return Optional.empty();
    }
  }
}
