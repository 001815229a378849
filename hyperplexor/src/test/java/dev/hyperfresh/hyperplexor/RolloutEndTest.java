package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/// Guests that end after their move because somebody wants them to have not failed.
@Timeout(30)
class RolloutEndTest extends RolloutScene {
  private static final Duration SOAK = Duration.ofMillis(50);

  /// What people do with a guest.
  enum Wish {
    STOP,
    DELETE,
    POWER_OFF_INSIDE,
    START_AGAIN
  }

  private void fulfil(Wish wish, String guest) {
    switch (wish) {
      case STOP -> hyperplexor.stop(guest, Duration.ZERO);
      case DELETE -> hyperplexor.delete(guest);
      case POWER_OFF_INSIDE -> powerOffInside(guest);
      case START_AGAIN -> {
        hyperplexor.stop(guest, Duration.ZERO);
        hyperplexor.start(guest, Stage.NEW, StartReason.REQUEST, Progress.NONE);
      }
    }
  }

  private void powerOffInside(String guest) {
    Stage.Actor runs = stage.actor(guest, 2);
    runs.tell(new InstanceEvent.PoweredOff(2));
    runs.die("exited");
    var _ = hyperplexor.hasHeartbeat(guest);
    assertThat(hyperplexor.show(guest).state()).isEqualTo(GuestView.State.STOPPED);
  }

  private void whenWatched(Runnable action) {
    audience =
        (_, state, _) -> {
          if (state.equals("soak")) {
            action.run();
          }
          return true;
        };
  }

  @ParameterizedTest
  @EnumSource(Wish.class)
  void whatItsOwnerDoesToACanaryStopsNothing(Wish wish) {
    guests("a", "b");
    whenWatched(() -> fulfil(wish, "a"));

    Rollout.Result<ReplacementRecord> result = rollOut(order(1, 1, SOAK));

    assertThat(outcomes(result)).containsExactly("a committed", "b committed");
    assertThat(result.stopped()).isEmpty();
    assertThat(result.misses()).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(Wish.class)
  void norIsAGuestLostThatItsOwnerEndsWhileOthersMove(Wish wish) {
    guests("a", "b");
    audience =
        (guest, state, _) -> {
          if (guest.equals("b") && state.equals("Planned")) {
            fulfil(wish, "a");
          }
          return true;
        };

    assertThat(outcomes(rollOut(one()))).containsExactly("a committed", "b committed");
  }

  /// Its policy says that it should run.
  @Test
  void aCanaryThatPowersOffAndIsToBeStartedAgainHasFailed() {
    hyperplexor.create(
        stage.spec("a").ending(new EndPolicy(Then.STOP, Then.RESTART, Then.RESTART)),
        Stage.OLD,
        Progress.NONE);
    guests("b");
    whenWatched(() -> powerOffInside("a"));

    assertThat(outcomes(rollOut(order(1, 1, SOAK))))
        .containsExactly("a soak-failed", "b not-started");
  }

  /// The heart of a system that shuts down stops some time before its hypervisor ends.
  @Test
  void aHeartThatStopsBecauseTheGuestPowersOffIsNoFailure() {
    guests("a", "b");
    whenWatched(() ->
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              LockSupport.parkNanos(Duration.ofMillis(500).toNanos());
              hyperplexor.stop("a", Duration.ZERO);
            }));

    Rollout.Result<ReplacementRecord> result =
        hyperplexor.rollOut(
            order(1, 1, SOAK),
            (guest, maxBlackout, progress) ->
                felt(hyperplexor.replace(guest, Stage.NEW, maxBlackout, progress), 1),
            (guest, state, text) -> audience.told(guest, state, text));

    assertThat(result.entries().getFirst().outcome()).isEqualTo(Rollout.Outcome.COMMITTED);
    assertThat(result.stopped()).isEmpty();
  }
}
