package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class RolloutLogicTest extends RolloutScene {
  @Test
  void allGuestsMoveByName() {
    guests("c", "a", "b");

    Rollout.Result<ReplacementRecord> result = rollOut(one());

    assertThat(moved).containsExactly("a", "b", "c");
    assertThat(outcomes(result)).containsExactly("a committed", "b committed", "c committed");
    assertThat(result.misses()).isEmpty();
    assertThat(result.stopped()).isEmpty();
    assertThat(hyperplexor.list()).allMatch(view -> view.release().equals(Stage.NEW.name()));
  }

  /// Who is moved when its time is over is moved to the end.
  @Test
  void whenItsTimeIsOverNoOtherGuestIsBegun() {
    guests("a", "b");
    GuestRollout.Order order =
        new GuestRollout.Order(
            List.of("a", "b"),
            Stage.NEW,
            Optional.empty(),
            new Rollout.Pace(1, 0, Duration.ZERO, Optional.of(Duration.ofSeconds(3))),
            LONG,
            true,
            false);
    audience =
        (guest, state, _) -> {
          if (guest.equals("a") && state.equals("Planned")) {
            LockSupport.parkNanos(Duration.ofSeconds(4).toNanos());
          }
          return true;
        };

    Rollout.Result<ReplacementRecord> result = rollOut(order);

    assertThat(outcomes(result)).containsExactly("a committed", "b not-started");
    assertThat(result.stopped()).contains("The time within which it was to begin is over.");
  }

  @Test
  void timesThatCannotBeMeantAreRefused() {
    for (Duration within : List.of(Duration.ZERO, Duration.ofDays(8))) {
      assertThat(new Rollout.Pace(1, 0, Duration.ZERO, Optional.of(within)).faults())
          .containsExactly("within is not between 1 ms and 7 days");
    }
  }

  @Test
  void thePlanTouchesNothingAndSaysWhatWouldBeDone() {
    guests("a", "b");
    hyperplexor.replace("b", Stage.NEW, LONG, Progress.NONE);
    int calls = stage.calls.size();

    Rollout.Result<ReplacementRecord> plan = hyperplexor.planRollout(one());

    assertThat(outcomes(plan)).containsExactly("a movable", "b there");
    assertThat(stage.calls.subList(calls, stage.calls.size()))
        .containsExactly("1.rehearse " + Stage.NEW.name());
  }

  @Test
  void theSameOrderAgainMovesWhatIsLeft() {
    guests("a", "b", "c");
    stage.on(
        "1.handOver",
        source -> {
          if (source.guest().equals("b")) {
            source.tell(new InstanceEvent.HandOverFailed(1, "once"));
          } else {
            stage.handOverFirst(source);
          }
        });

    Rollout.Result<ReplacementRecord> first = rollOut(one());
    assertThat(outcomes(first)).containsExactly("a committed", "b rolled-back", "c not-started");
    assertThat(first.stopped()).hasValue("Guest b: rolled-back.");
    assertThat(first.misses()).extracting(Rollout.Entry::name).containsExactly("b");
    stage.on(
        "1.handOver",
        source -> {
          int next = source.guest().equals("b") ? 3 : 2;
          source.tell(new InstanceEvent.Stopped(1, 1_000));
          stage.actor(source.guest(), next).tell(new InstanceEvent.Resumed(next, 2_000));
        });

    Rollout.Result<ReplacementRecord> second = rollOut(one());
    assertThat(outcomes(second)).containsExactly("a there", "b committed", "c committed");
    assertThat(outcomes(rollOut(one()))).containsExactly("a there", "b there", "c there");
  }

  @Test
  void guestsThatCannotMoveAreLeftAloneAndKeepNobody() {
    guests("a", "b");
    hyperplexor.stop("a", Duration.ZERO);

    Rollout.Result<ReplacementRecord> result = rollOut(one());

    assertThat(outcomes(result)).containsExactly("a left-alone", "b committed");
    assertThat(result.entries().getFirst().problem()).isEqualTo(Problem.GUEST_STATE.code());
    assertThat(result.entries().getFirst().detail())
        .isEqualTo("It is stopped (stopped by request).");
    assertThat(result.misses()).isEmpty();
    assertThat(moved).containsExactly("b");
  }

  @Test
  void aGuestThatWasNamedAndIsLeftAloneIsAMiss() {
    guests("a", "b", "c");
    hyperplexor.stop("a", Duration.ZERO);

    Rollout.Result<ReplacementRecord> result = rollOut(one("b", "a", "b"));

    assertThat(outcomes(result)).containsExactly("b committed", "a left-alone");
    assertThat(result.misses()).extracting(Rollout.Entry::name).containsExactly("a");
    assertThat(hyperplexor.show("c").release()).isEqualTo(Stage.OLD.name());
  }

  @Test
  void obstaclesAreToldOfEveryGuest() {
    guests("a", "b");
    stage.checks = List.of(Check.fail("one", "One.", "Do a."));

    Rollout.Result<ReplacementRecord> result = rollOut(one());

    assertThat(outcomes(result)).containsExactly("a left-alone", "b left-alone");
    assertThat(result.entries()).allMatch(entry -> entry.detail().equals("One. Do a."));
    assertThat(moved).isEmpty();
  }

  @Test
  void aNameThatIsUnknownTouchesNothing() {
    guests("a");

    assertThatThrownBy(() -> rollOut(one("a", "ghost")))
        .extracting(StagedRelease::code)
        .isEqualTo(Problem.GUEST_UNKNOWN.code());
    assertThat(moved).isEmpty();
  }

  @Test
  void onlyGuestsOfTheNamedReleaseAreInQuestion() {
    StagedRelease other = new StagedRelease("scripted-1.5.0", Stage.KIND);
    guests("a");
    hyperplexor.create(stage.spec("b"), other, Progress.NONE);
    GuestRollout.Order fromOld =
        new GuestRollout.Order(
            List.of(),
            Stage.NEW,
            Optional.of(Set.of(Stage.OLD.name(), "scripted-1.4.0")),
            Rollout.ONE_BY_ONE,
            LONG,
            true,
            false);

    assertThat(outcomes(rollOut(fromOld))).containsExactly("a committed");
    assertThat(outcomes(rollOut(fromOld))).containsExactly("a there");
    assertThat(hyperplexor.show("b").release()).isEqualTo(other.name());
  }

  @Test
  void whatIsOutOfRangeIsToldTogether() {
    assertThatThrownBy(() -> order(0, -1, Duration.ofDays(2)))
        .hasMessageContaining("parallel is not between 1 and 64")
        .hasMessageContaining("canary is below 0")
        .hasMessageContaining("soak is not between 0 and 24 hours");
  }

  @Test
  void canariesAreMovedAloneAndWatchedBeforeTheRest() {
    guests("a", "b", "c");
    List<String> told = Collections.synchronizedList(new ArrayList<>());
    audience =
        (guest, state, _) -> {
          told.add(guest + " " + state);
          return true;
        };

    Rollout.Result<ReplacementRecord> result = rollOut(order(4, 1, Duration.ofMillis(50)));

    assertThat(outcomes(result)).containsExactly("a committed", "b committed", "c committed");
    assertThat(told.indexOf("a committed")).isBetween(0, told.indexOf(" soak"));
    assertThat(told.indexOf(" soak"))
        .isLessThan(told.indexOf("b Planned"))
        .isLessThan(told.indexOf("c Planned"));
  }

  @Test
  void aCanaryThatEndsWhileItIsWatchedStopsTheRollout() {
    guests("a", "b");
    audience =
        (_, state, _) -> {
          if (state.equals("soak")) {
            stage.actor("a", 2).die("it crashed");
          }
          return true;
        };

    Rollout.Result<ReplacementRecord> result = rollOut(order(1, 1, Duration.ofSeconds(20)));

    assertThat(outcomes(result)).containsExactly("a soak-failed", "b not-started");
    assertThat(result.entries().getFirst().detail()).startsWith("It is stopped (it crashed)");
    assertThat(result.stopped().orElseThrow()).contains("Guest a", "failed while it was watched");
    assertThat(result.misses()).extracting(Rollout.Entry::name).containsExactly("a");
    assertThat(moved).containsExactly("a");
  }

  /// The hypervisors' own account of the switch is held against the budget before; what the guest
  /// felt is known only now.
  @Test
  void aCanaryThatFeltMoreThanTheBudgetStopsTheRollout() {
    guests("a", "b");

    Rollout.Result<ReplacementRecord> result =
        hyperplexor.rollOut(
            order(1, 1, Duration.ofMillis(50)),
            (guest, maxBlackout, progress) ->
                felt(hyperplexor.replace(guest, Stage.NEW, maxBlackout, progress), 10_048),
            Rollout.Audience.NONE);

    assertThat(outcomes(result)).containsExactly("a soak-failed", "b not-started");
    assertThat(result.entries().getFirst().detail())
        .isEqualTo("Its heartbeat stood still for 10048 ms, longer than the budget of 10000 ms.");
  }

  @Test
  void aGuestThatEndsAfterItWasMovedDidNotArrive() {
    guests("a", "b");
    audience =
        (guest, state, _) -> {
          if (guest.equals("b") && state.equals("Planned")) {
            stage.actor("a", 2).die("it crashed");
            while (hyperplexor.show("a").state() != GuestView.State.STOPPED) {
              Thread.onSpinWait();
            }
          }
          return true;
        };

    Rollout.Result<ReplacementRecord> result = rollOut(one());

    assertThat(outcomes(result)).containsExactly("a failed", "b committed");
    Rollout.Entry<ReplacementRecord> lost = result.entries().getFirst();
    assertThat(lost.problem()).isEqualTo(Problem.REPLACE_LOST.code());
    assertThat(lost.detail()).isEqualTo("It was moved and is now stopped (it crashed).");
    assertThat(result.misses()).extracting(Rollout.Entry::name).containsExactly("a");
  }

  @Test
  void noFurtherGuestIsStartedWhenTheClientHasGone() {
    guests("a", "b", "c");
    audience = (guest, _, _) -> !guest.equals("b");

    Rollout.Result<ReplacementRecord> result = rollOut(one());

    assertThat(outcomes(result)).containsExactly("a committed", "b not-started", "c not-started");
    assertThat(result.stopped()).hasValue("The client has gone.");
    assertThat(moved).containsExactly("a");
  }

  /// Another rollout may begin soon.
  @Test
  void aClientThatGoesWhileGuestsAreWatchedEndsTheWatch() {
    guests("a", "b");
    AtomicInteger words = new AtomicInteger();
    audience = (_, state, _) -> !state.equals("soak") || words.incrementAndGet() < 2;

    Rollout.Result<ReplacementRecord> result = rollOut(order(1, 1, Duration.ofHours(1)));

    assertThat(outcomes(result)).containsExactly("a committed", "b not-started");
    assertThat(result.stopped()).hasValue("The client has gone.");
  }

  @Test
  void noFurtherGuestIsStartedWhenTheRolloutIsInterrupted() {
    guests("a", "b");
    Thread waiting = Thread.currentThread();

    Rollout.Result<ReplacementRecord> result =
        hyperplexor.rollOut(
            one(),
            (guest, maxBlackout, progress) -> {
              moved.add(guest);
              waiting.interrupt();
              awaitInterrupt();
              return hyperplexor.replace(guest, Stage.NEW, maxBlackout, progress);
            },
            Rollout.Audience.NONE);

    assertThat(Thread.interrupted()).as("the interrupt is kept").isTrue();
    assertThat(outcomes(result)).containsExactly("a committed", "b not-started");
    assertThat(result.stopped()).hasValue("The daemon ends.");
    assertThat(moved).containsExactly("a");
  }

  /// The rollout passes its interrupt on when it has seen it.
  private static void awaitInterrupt() {
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException seen) {
      // The guest is moved all the same.
    }
  }

  @Test
  void guestsInFlightEndWhenAnotherFails() throws Exception {
    guests("a", "b", "c");
    CountDownLatch failed = new CountDownLatch(1);
    audience =
        (_, state, _) -> {
          if (state.equals("rolled-back")) {
            failed.countDown();
          }
          return true;
        };
    stage.on(
        "1.connect",
        source -> {
          if (source.guest().equals("a")) {
            await(failed);
          } else {
            throw Problem.REPLACE_PREPARE.because("No channel.");
          }
        });

    Rollout.Result<ReplacementRecord> result = rollOut(order(2, 0, Duration.ZERO));

    assertThat(outcomes(result)).containsExactly("a committed", "b rolled-back", "c not-started");
  }

  @Test
  void guestsArePreparedInParallelAndSwitchOneAfterTheOther() {
    guests("a", "b", "c", "d");
    CountDownLatch together = new CountDownLatch(3);
    AtomicInteger switching = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    stage
        .on(
            "2.expect",
            _ -> {
              together.countDown();
              await(together);
            })
        .on(
            "1.handOver",
            source -> {
              most.accumulateAndGet(switching.incrementAndGet(), Math::max);
              java.util.concurrent.locks.LockSupport.parkNanos(20_000_000);
              switching.decrementAndGet();
              stage.handOverFirst(source);
            });

    Rollout.Result<ReplacementRecord> result = rollOut(order(3, 0, Duration.ZERO));

    assertThat(result.entries()).allMatch(entry -> entry.outcome() == Outcome.COMMITTED);
    int cores = Runtime.getRuntime().availableProcessors();
    assertThat(most.get()).isLessThanOrEqualTo(SwitchGate.forCores(cores).free());
  }

  @Test
  void aBusyGuestIsLeftAloneAndASecondRolloutIsRefused() throws Exception {
    guests("a", "b");
    CountDownLatch preparing = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    stage.on(
        "1.connect",
        source -> {
          if (source.guest().equals("a")) {
            preparing.countDown();
            await(goOn);
          }
        });
    CompletableFuture<Rollout.Result<ReplacementRecord>> first =
        CompletableFuture.supplyAsync(() -> rollOut(one("a")));
    await(preparing);

    assertThatThrownBy(() -> rollOut(one()))
        .extracting(StagedRelease::code)
        .isEqualTo(Problem.ROLLOUT_BUSY.code());
    assertThat(outcomes(hyperplexor.planRollout(one())))
        .containsExactly("a left-alone", "b movable");
    goOn.countDown();

    assertThat(outcomes(first.get(10, TimeUnit.SECONDS))).containsExactly("a committed");
    assertThat(outcomes(rollOut(one()))).containsExactly("a there", "b committed");
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(10, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
