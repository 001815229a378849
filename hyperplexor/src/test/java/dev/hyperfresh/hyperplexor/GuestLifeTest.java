package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.OpenFlags;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Guests are started without anybody asking for it: by their policy, and after a boot of the host.
@Timeout(30)
class GuestLifeTest extends LifeScene {
  private static final Duration SECOND = Duration.ofSeconds(1);

  private void restartingOnCrash(String name) {
    create(name, Then.RESTART, Then.RESTART, Then.STOP);
  }

  @Test
  void byDefaultAGuestThatEndsStaysStopped() {
    create("g");

    assertThat(crash("g").detail()).isEqualTo("killed by signal 11");

    pace.pass(Duration.ofDays(1));
    assertState("g", GuestView.State.STOPPED);
  }

  @Test
  void aCrashIsFollowedByAStartLaterEachTimeAndSomeTimesInARow() {
    restartingOnCrash("g");
    for (int i = 0; i < GuestLife.MOST; i++) {
      GuestView ended = crash("g");
      Duration delay = Duration.ofSeconds(1L << i);
      assertThat(ended.detail())
          .isEqualTo(
              "killed by signal 11; to be started (on-crash) in %d s, %d of 5 in a row"
                  .formatted(delay.toSeconds(), i + 1));
      assertThat(pace.next()).contains(delay);
      pace.pass(delay.minusMillis(1));
      assertState("g", GuestView.State.STOPPED);
      pace.pass(Duration.ofMillis(1));
      assertState("g", GuestView.State.RUNNING);
      assertThat(settled("g").starts().inARow()).isEqualTo(i + 1);
    }
    assertThat(started).hasSize(6).endsWith("g on-crash");

    GuestView end = crash("g");

    assertThat(end.detail())
        .isEqualTo("killed by signal 11; not started again, after 5 starts in a row");
    assertThat(pace.next()).isEmpty();
    nextDaemon();
    assertThat(pace.next()).isEmpty();
    assertThat(hyperplexor.show("g").detail()).isEqualTo(end.detail());
    assertThat(start("g").starts().inARow()).isZero();
    crash("g");
    assertThat(pace.next()).as("counted anew").contains(SECOND);
  }

  @Test
  void aGuestThatHasRunWellIsStartedSoonAgain() {
    restartingOnCrash("g");
    crash("g");
    pace.pass(SECOND);
    crash("g");
    assertThat(pace.next()).contains(Duration.ofSeconds(2));
    pace.pass(Duration.ofSeconds(2));

    pace.pass(GuestLife.WELL);
    crash("g");

    assertThat(pace.next()).contains(SECOND);
  }

  @Test
  void delaysAreBounded() {
    assertThat(GuestLife.delay(0)).isEqualTo(SECOND);
    assertThat(GuestLife.delay(5)).isEqualTo(Duration.ofSeconds(32));
    assertThat(GuestLife.delay(1000)).isEqualTo(Duration.ofMinutes(1));
  }

  @Test
  void aStartThatFailsIsTriedAgain() {
    restartingOnCrash("g");
    crash("g");
    stage.failing("2.start", Problem.GUEST_START.because("It says no."));

    pace.pass(SECOND);

    assertThat(settled("g").detail())
        .isEqualTo(
            "killed by signal 11; not started: It says no.; to be started (on-crash) in 2 s, 2 of"
                + " 5 in a row");
    pace.pass(Duration.ofSeconds(2));
    assertState("g", GuestView.State.RUNNING);
  }

  @Test
  void soIsOneThatFailsBeforeTheGuestIsAsked() {
    hyperplexor.startThemselves(
        pace,
        (_, _) -> {
          throw Problem.RELEASE_UNKNOWN.because("It was removed.");
        });
    restartingOnCrash("g");
    crash("g");

    pace.pass(Duration.ofHours(1));

    assertState("g", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").detail())
        .isEqualTo(
            "killed by signal 11; not started: It was removed.; not started again, after 5 starts"
                + " in a row");
  }

  @Test
  void aDaemonThatIsGivingWayTriesAgainWhenItGoesOn() {
    restartingOnCrash("g");
    assertThat(hyperplexor.halt(SECOND)).isTrue();
    crash("g");
    pace.pass(Duration.ofSeconds(10));
    assertState("g", GuestView.State.STOPPED);

    hyperplexor.goOn();
    pace.pass(SECOND);

    assertState("g", GuestView.State.RUNNING);
    assertThat(hyperplexor.show("g").starts().inARow()).isEqualTo(1);
  }

  @Test
  void whoeverStopsItMeansIt() {
    create("g", Then.RESTART, Then.RESTART, Then.RESTART);
    stage.on(
        "1.powerOff",
        actor -> {
          actor.tell(new InstanceEvent.PoweredOff(1));
          actor.die("ended");
        });
    hyperplexor.stop("g", LONG);
    assertThat(pace.next()).isEmpty();

    start("g");
    crash("g");
    assertThat(pace.next()).isPresent();
    hyperplexor.stop("g", LONG);

    pace.pass(Duration.ofDays(1));
    assertState("g", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").detail()).isEqualTo("stopped by request");
    nextDaemon();
    assertThat(pace.next()).isEmpty();
  }

  @Test
  void aGuestThatPowersOffFollowsItsOwnPolicy() {
    create("off", Then.RESTART, Then.RESTART, Then.STOP);
    create("on", Then.STOP, Then.RESTART, Then.RESTART);
    for (String name : List.of("off", "on")) {
      stage.actor(name, 1).tell(new InstanceEvent.PoweredOff(1));
      crash(name);
    }

    pace.pass(SECOND);

    assertState("off", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("off").detail()).isEqualTo("powered off by itself");
    assertState("on", GuestView.State.RUNNING);
    assertThat(started).endsWith("on on-poweroff");
  }

  @Test
  void aResetEndsOnlyAGuestWhosePolicyIsThat() {
    create("boots", Then.RESTART, Then.RESTART, Then.STOP);
    create("ends", Then.RESTART, Then.STOP, Then.STOP);
    for (String name : List.of("boots", "ends")) {
      stage.actor(name, 1).tell(new InstanceEvent.Reset(1));
      assertState(name, GuestView.State.RUNNING);
      crash(name);
    }

    pace.pass(SECOND);

    assertState("boots", GuestView.State.RUNNING);
    assertState("ends", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("ends").detail()).contains("was reset");
  }

  @Test
  void anEndThatNobodySawIsFollowedByAStartIfEveryPolicyWantsIt() {
    create("all", Then.RESTART, Then.RESTART, Then.RESTART);
    create("some", Then.RESTART, Then.RESTART, Then.STOP);
    nextDaemon();

    pace.pass(SECOND);

    assertState("all", GuestView.State.RUNNING);
    assertState("some", GuestView.State.STOPPED);
    assertThat(started).endsWith("all unseen-end");
  }

  @Test
  void theNextDaemonDoesWhatTheLastOneWasAboutToDo() {
    restartingOnCrash("g");
    crash("g");
    pace.pass(SECOND);
    crash("g");

    nextDaemon();

    assertThat(pace.next()).contains(Duration.ofSeconds(2));
    pace.pass(Duration.ofSeconds(2));
    assertState("g", GuestView.State.RUNNING);
  }

  // ---- after a boot of the host ----

  private void threeGuests() {
    for (String name : List.of("c", "a", "b")) {
      create(name);
      hyperplexor.autostart(name, !name.equals("b"));
    }
    started.clear();
  }

  @Test
  void aBootOfTheHostStartsTheGuestsWithAutostartInTheirOrder() {
    threeGuests();
    hyperplexor.stop("a", Duration.ZERO);

    reboot();

    assertThat(hyperplexor.show("b").detail()).isEqualTo("ended with the host's last boot");
    pace.pass(Duration.ZERO);
    assertThat(started).containsExactly("a autostart", "c autostart");
    assertState("b", GuestView.State.STOPPED);
    assertThat(settled("a").generation()).isEqualTo(2);
  }

  @Test
  void anotherDaemonInTheSameBootDoesNot() {
    threeGuests();
    reboot();
    pace.pass(Duration.ZERO);
    hyperplexor.stop("a", Duration.ZERO);
    started.clear();

    nextDaemon();

    assertThat(pace.next()).isEmpty();
    assertState("a", GuestView.State.STOPPED);
    assertThat(started).isEmpty();
  }

  @Test
  void whatIsSwitchedOnLaterIsForTheNextBoot() {
    create("g");
    reboot();
    hyperplexor.autostart("g", true);
    nextDaemon();
    assertThat(pace.next()).isEmpty();

    reboot();

    pace.pass(Duration.ZERO);
    assertState("g", GuestView.State.RUNNING);
  }

  @Test
  void aGuestThatIsStoppedOrSwitchedOffBeforeItsTurnIsNotStarted() {
    threeGuests();
    reboot();
    hyperplexor.stop("a", Duration.ZERO);
    hyperplexor.autostart("c", false);

    pace.pass(Duration.ofDays(1));

    assertThat(started).isEmpty();
    nextDaemon();
    assertThat(pace.next()).isEmpty();
  }

  @Test
  void aDaemonThatEndsBeforeAllAreStartedIsFollowedByOneThatGoesOn() {
    threeGuests();
    reboot();

    nextDaemon();

    pace.pass(Duration.ZERO);
    assertThat(started).containsExactly("a autostart", "c autostart");
  }

  @Test
  void anAutostartThatFailsIsTriedAgain() {
    create("g");
    hyperplexor.autostart("g", true);
    stage.failing("2.start", Problem.GUEST_START.because("It says no."));
    reboot();
    pace.pass(Duration.ZERO);
    assertState("g", GuestView.State.STOPPED);

    pace.pass(Duration.ofSeconds(2));

    assertState("g", GuestView.State.RUNNING);
  }

  /// Its disk is on a file system that is mounted late.
  @Test
  void anAutostartIsTriedUntilItSucceedsAndCountsOnceThen() {
    create("g", Then.RESTART, Then.RESTART, Then.STOP);
    hyperplexor.autostart("g", true);
    hyperplexor.letGo();
    inEarlierBoot();
    takesBack();
    pace = new VirtualPace();
    AtomicInteger asked = new AtomicInteger();
    hyperplexor.startThemselves(
        pace,
        (name, why) -> {
          if (asked.incrementAndGet() <= 3 * GuestLife.MOST) {
            throw Problem.SPEC_INVALID.because("It is not there.");
          }
          hyperplexor.start(name, Stage.OLD, why, NONE);
        });
    pace.pass(Duration.ofMinutes(5));
    assertThat(hyperplexor.show("g").detail())
        .contains("It is not there.; to be started (autostart) in 60 s, ");
    assertThat(hyperplexor.show("g").starts().wanted()).isTrue();
    assertThat(asked).hasValueGreaterThan(GuestLife.MOST);

    pace.pass(Duration.ofHours(1));

    assertState("g", GuestView.State.RUNNING);
    assertThat(settled("g").starts().inARow()).isEqualTo(1);
    assertThat(hyperplexor.show("g").starts().wanted()).isFalse();
  }

  @Test
  void aMachineThatIsNotUpYetIsWaitedForWithoutUsingUpStarts() {
    create("g");
    hyperplexor.autostart("g", true);
    hyperplexor.letGo();
    inEarlierBoot();
    takesBack();
    pace = new VirtualPace();
    AtomicInteger asked = new AtomicInteger();
    hyperplexor.startThemselves(
        pace,
        (name, why) -> {
          if (asked.incrementAndGet() <= 100) {
            throw Problem.MACHINE_COMING.because("Machine m1 is being started.");
          }
          hyperplexor.start(name, Stage.OLD, why, NONE);
        });
    pace.pass(Duration.ofSeconds(60));
    assertState("g", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").starts().inARow()).isZero();

    pace.pass(Duration.ofSeconds(60));

    assertState("g", GuestView.State.RUNNING);
    assertThat(hyperplexor.show("g").starts().inARow()).isEqualTo(1);
  }

  @Test
  void onlySoManyAreStartedAtOnce() throws Exception {
    List<String> names = List.of("a", "b", "c", "d", "e", "f");
    for (String name : names) {
      create(name);
      hyperplexor.autostart(name, true);
    }
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    Semaphore doors = new Semaphore(0);
    CountDownLatch two = new CountDownLatch(2);
    stage.on(
        "2.start",
        _ -> {
          most.accumulateAndGet(inside.incrementAndGet(), Math::max);
          two.countDown();
          doors.acquireUninterruptibly();
          inside.decrementAndGet();
        });
    hyperplexor.letGo();
    inEarlierBoot();
    takesBack();
    started.clear();
    var _ = starts.drainPermits();

    begin(Pace.of(2));

    assertThat(two.await(10, TimeUnit.SECONDS)).isTrue();
    doors.release(names.size());
    assertThat(starts.tryAcquire(names.size(), 10, TimeUnit.SECONDS)).isTrue();
    assertThat(most).hasValue(2);
    assertThat(started)
        .containsExactlyInAnyOrderElementsOf(
            names.stream().map(name -> name + " autostart").toList());
  }

  @Test
  void aGuestThatIsDeletedBeforeItsTurnIsGone() {
    restartingOnCrash("g");
    crash("g");
    hyperplexor.delete("g", false);

    pace.pass(Duration.ofDays(1));

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(hyperplexor.create(stage.spec("g"), Stage.OLD, NONE).generation()).isEqualTo(1);
  }

  @Test
  void whatWasHandedOverOfAGuestThatIsGoneIsClosed() {
    Fd memory = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY);
    Fd queue = Fd.open(Path.of("/dev/zero"), OpenFlags.READ_ONLY);

    hyperplexor.takeBack(
        _ -> Stage.OLD,
        Map.of("gone", new Holdings(List.of(memory), List.of(queue))),
        Duration.ofSeconds(10),
        _ -> {},
        _ -> {});

    assertThat(memory.isOpen()).isFalse();
    assertThat(queue.isOpen()).isFalse();
  }
}
