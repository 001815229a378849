package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/// A process that has its guest's memory for itself is adopted by a move that copies it. Either the
/// guest arrives and is one like all others, or nothing of it was adopted.
class FirstCopyTest extends FirstCopyScene {
  @Test
  void aGuestArrivesWithItsMemoryAndIsOneLikeAllOthersThen() {
    stage.handingOver();

    GuestView adopted = adopt(LONG);

    assertThat(stage.calls)
        .containsSubsequence(
            "1.attach",
            "2.startWaiting",
            "2.expectWithMemory",
            "1.connectWithMemory",
            "1.handOver",
            "1.ramBytesCopied",
            "2.settle",
            "1.end",
            "2.takeAddresses")
        .doesNotContain("1.connect", "2.expect", "1.takeBack");
    assertThat(adopted.state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(adopted.release()).isEqualTo(Stage.NEW.name());
    assertThat(adopted.generation()).isEqualTo(2);
    assertThat(adopted.origin()).isEqualTo(GuestView.Origin.ADOPTED);
    assertThat(adopted.detail())
        .isEqualTo(
            "adopted. Its memory was private. 0 MiB were copied to scripted-2.0.0 while it ran; it"
                + " stood for 4.5 ms.");
    assertThat(told).containsExactly(adopted);
    assertThat(records).singleElement().matches(ReplacementRecord::committed);
    assertThat(hyperplexor.list()).containsExactly(adopted);

    stage.on(
        "2.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(2, 7_000_000));
          stage.actor("g", 3).tell(new InstanceEvent.Resumed(3, 7_001_000));
        });
    assertThat(hyperplexor.replace("g", Stage.OLD, LONG, Progress.NONE).committed()).isTrue();
    assertThat(stage.calls).containsSubsequence("3.expect", "2.connect", "2.handOver");
  }

  @Test
  void theNextDaemonFindsItAsOneLikeAllOthers() {
    stage.handingOver();
    var _ = adopt(LONG);
    hyperplexor.letGo();
    hyperplexor = hyperplexor();

    takeBack();

    assertThat(hyperplexor.show("g").generation()).isEqualTo(2);
    assertThat(hyperplexor.show("g").release()).isEqualTo(Stage.NEW.name());
  }

  @Test
  void whatDoesNotComeToAnEndIsGivenUp() {
    assertNotAdopted(Problem.ADOPT_COPY, Duration.ofSeconds(2))
        .hasMessageContaining(
            "within 2 s: pass 2 over 16 MiB: 20 MiB sent, 3 MiB left, the guest changes 2 MiB/s,"
                + " would stand for 40 ms, is slowed down by 30 %.");

    assertThat(steps).anyMatch(step -> step.startsWith("g copy pass 2 over 16 MiB: "));
    assertThat(stage.calls)
        .containsSubsequence("1.handOver", "1.copied", "2.freeze", "2.condemn", "1.takeBack");
    assertThat(records)
        .singleElement()
        .extracting(ReplacementRecord::outcome)
        .isEqualTo(Outcome.ROLLED_BACK);
    assertUntouched();
  }

  @Test
  void aTargetThatDiesInTheMiddleLeadsBack() {
    stage.on("1.handOver", source -> stage.actor("g", 2).die("somebody killed it"));

    assertNotAdopted(Problem.REPLACE_SWITCH, LONG).hasMessageContaining("somebody killed it");

    assertThat(stage.calls).contains("1.takeBack");
    assertUntouched();
    stage.handingOver();
    assertThat(adopt(LONG).release()).as("another try").isEqualTo(Stage.NEW.name());
  }

  @Test
  void aTargetThatDoesNotStartLeadsBack() {
    stage.failing("2.expectWithMemory", Problem.REPLACE_PREPARE.because("no room"));

    assertNotAdopted(Problem.REPLACE_PREPARE, LONG).hasMessageContaining("no room");

    assertThat(stage.calls)
        .containsSubsequence("2.kill", "1.withdraw")
        .as("its owner may have paused it")
        .doesNotContain("1.takeBack");
    assertUntouched();
  }

  @Test
  void anObstacleIsFoundBeforeAnythingIsDone() {
    stage.liveChecks = List.of(Check.fail("devices", "It has a device.", "Remove it."));

    assertNotAdopted(Problem.ADOPT_REFUSED, LONG).hasMessageContaining("It has a device.");

    assertThat(stage.calls).doesNotContain("2.startWaiting", "1.takeBack");
    assertThat(records).isEmpty();
    assertUntouched();
  }

  /// Memory that is not shared is no obstacle to a copy, and nothing of it is asked.
  @Test
  void theMemoryNeedNotBeShared() {
    stage.sharing = false;
    stage.handingOver();

    assertThat(adopt(LONG).generation()).isEqualTo(2);
  }

  @Test
  void aGuestThatPowersItselfOffIsNotAdopted() {
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.PoweredOff(1));
          source.die("it ended");
        });

    assertNotAdopted(Problem.REPLACE_OFF, LONG);

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(files()).doesNotExist();
  }

  /// It may have been told to stay when its guest is off.
  @Test
  void theProcessOfAGuestThatPowersItselfOffIsNotEnded() {
    stage.on("1.handOver", source -> source.tell(new InstanceEvent.PoweredOff(1)));
    stage.on("1.copied", _ -> stage.actor("g", 2).die("nothing comes"));

    assertNotAdopted(Problem.REPLACE_OFF, LONG);

    assertThat(stage.calls).contains("1.withdraw").doesNotContain("1.end", "1.kill");
    assertThat(files()).doesNotExist();
  }

  @Test
  void aGuestThatSomebodyPausesIsNotAdoptedAndStaysPaused() {
    stage.on(
        "1.handOver",
        source -> {
          source.runState = RunState.PAUSED;
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
        });

    assertNotAdopted(Problem.ADOPT_COPY, LONG).hasMessageContaining("it is paused");

    assertThat(stage.calls).contains("1.withdraw").doesNotContain("1.takeBack", "1.resume");
    assertUntouched();
  }

  @Test
  void whatTheNewProcessDidNotGetIsSaid() {
    stage.handingOver().amiss = Optional.of("It does not listen at :1. Free that.");

    assertThat(adopt(LONG).detail()).endsWith("4.5 ms. It does not listen at :1. Free that.");
  }

  @Test
  void oneProcessIsAdoptedOnceAtATime() throws Exception {
    CountDownLatch looked = new CountDownLatch(1);
    stage.on("1.copied", _ -> looked.countDown());
    CompletableFuture<Void> first =
        CompletableFuture.runAsync(
            () -> assertNotAdopted(Problem.ADOPT_COPY, Duration.ofSeconds(3)), FirstCopyScene::run);
    looked.await();

    assertThatThrownBy(() -> adopt("h", process, LONG))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.ADOPT_REFUSED))
        .hasMessageContaining("is being adopted already, as guest g");

    first.get();
    stage.handingOver();
    assertThat(adopt(LONG).generation()).as("another try").isEqualTo(2);
  }

  /// Each would take a core, and the memory that the other one has seen free.
  @Test
  void oneGuestIsCopiedAtATime() throws Exception {
    CompletableFuture<GuestView> next =
        waitingForG(() -> assertThat(stage.calls).containsOnlyOnce("2.startWaiting"));

    assertThat(next.get().generation()).isEqualTo(2);
  }

  /// Nobody knows what has happened to it.
  @Test
  void aGuestInDoubtIsListedWhateverIsThrown() {
    Guest guest = stage.guest("lost");
    FirstCopy first =
        new FirstCopy(
            guest,
            new AdoptOrder.Copy(_ -> Stage.NEW, new MemoryCopy(LONG, DOWNTIME), records::add),
            (moved, _, _, _) -> {
              moved.call(() -> {
                moved.stayInDoubt("who knows");
                return true;
              });
              throw new IllegalStateException("a fault");
            },
            Progress.NONE);

    assertThatThrownBy(() -> first.run(() -> told.add(guest.view())))
        .isInstanceOf(IllegalStateException.class);

    assertThat(told).hasSize(1);
    guest.delete(true);
  }

  /// Somebody may want to boot it from its disks.
  @Test
  void aGuestWhoseProcessDiesIsListedAsStopped() {
    stage
        .failing("1.takeBack", Problem.REPLACE_LOST.because("It has ended."))
        .on("1.handOver", source -> source.die("somebody killed it"));

    assertNotAdopted(Problem.REPLACE_LOST, LONG);

    assertThat(hyperplexor.list())
        .singleElement()
        .matches(view -> view.state() == GuestView.State.STOPPED);
    assertThat(files().resolve("guest.properties")).exists();
  }

  /// Its disks may be newer than what the first process knows: somebody has to decide.
  @Test
  void aGuestThatTheTargetHasRunIsListedInDoubt() {
    stage.ran = Optional.of(true);
    stage.on(
        "1.handOver",
        source -> {
          source.tell(new InstanceEvent.Stopped(1, 5_000_000));
          source.runState = RunState.SENDING;
          stage.actor("g", 2).die("somebody killed it");
        });

    assertNotAdopted(Problem.REPLACE_DOUBT, LONG);

    assertThat(stage.calls).doesNotContain("1.takeBack", "1.end", "1.close");
    assertThat(hyperplexor.list())
        .singleElement()
        .matches(view -> view.generation() == 2 && view.detail().contains("somebody killed it"));
    assertThat(files().resolve("guest.properties")).exists();
  }

  @Test
  void aDaemonThatEndsGivesTheCopyUp() throws Exception {
    CountDownLatch looked = new CountDownLatch(1);
    stage.on("1.copied", _ -> looked.countDown());
    CompletableFuture<String> end =
        CompletableFuture.supplyAsync(() -> {
          try {
            return adopt(LONG.multipliedBy(10)).detail();
          } catch (HyperFreshException e) {
            return e.problem().name() + " " + e.detail();
          }
        });
    looked.await();

    hyperplexor.letGo();

    assertThat(end.get()).startsWith("ADOPT_COPY The daemon ends.");
    assertThat(stage.calls).contains("1.takeBack").doesNotContain("1.end", "1.kill");
    assertThat(files()).doesNotExist();
    hyperplexor = hyperplexor();
  }

  private static void refuse() {
    throw Problem.DAEMON_UPGRADING.because("Enough.");
  }

  @Test
  void aCopyThatNobodyWantsAnyMoreIsGivenUp() {
    AtomicInteger asked = new AtomicInteger();
    // It is asked before the copy, too.
    wanted =
        () -> {
          if (asked.getAndIncrement() > 0) {
            refuse();
          }
        };

    assertNotAdopted(Problem.DAEMON_UPGRADING, LONG.multipliedBy(10))
        .hasMessageContaining("Enough.");

    assertThat(stage.calls).containsSubsequence("1.handOver", "1.copied", "1.takeBack");
    assertUntouched();
  }

  @Test
  void oneThatNobodyWantsAnyMoreDoesNotWaitForItsTurn() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CompletableFuture<Boolean> other = new CompletableFuture<>();
    Process second = new ProcessBuilder("sleep", "60").start();
    stage.on(
        "1.handOver",
        source -> {
          begun.countDown();
          other.join();
          stage.handOverFirst(source);
        });
    try {
      CompletableFuture<GuestView> first =
          CompletableFuture.supplyAsync(() -> adopt(LONG), FirstCopyTest::run);
      begun.await();
      wanted = FirstCopyTest::refuse;

      assertThatThrownBy(() -> adopt("h", second, LONG)).hasMessageContaining("Enough.");

      assertThat(state().resolve("guests/h")).doesNotExist();
      wanted = () -> {};
      other.complete(true);
      assertThat(first.get().generation()).isEqualTo(2);
    } finally {
      second.destroyForcibly();
    }
  }

  /// What a daemon has written down that is killed in the middle of a copy.
  private void beginUnderAnotherDaemon(Optional<GuestFile.Tenant> waiting, int generations)
      throws IOException {
    Files.createDirectories(files());
    GuestFile.Tenant running =
        new GuestFile.Tenant(0, 0, Host.bootId(), 1, Stage.OLD.name(), Stage.KIND)
            .found((int) process.pid());
    new GuestFile(
            stage.spec("g"),
            new AcceleratorChoice(Accelerator.TCG, "a test"),
            Instant.now(),
            OptionalInt.empty(),
            running,
            waiting,
            Optional.empty(),
            Optional.of(StagedAdopter.machine(true)),
            ClockLoss.NONE,
            generations)
        .write(files());
  }

  /// A target that has ended.
  private static Optional<GuestFile.Tenant> gone() {
    return Optional.of(
        new GuestFile.Tenant(0x3fffff, 1, Host.bootId(), 2, Stage.NEW.name(), Stage.KIND));
  }

  @Test
  void whatWasBeingCopiedWhenADaemonDiedIsNotAdopted() throws IOException {
    stage.ran = Optional.of(false);
    beginUnderAnotherDaemon(gone(), 2);

    assertThat(takeBack()).singleElement().asString().contains("was not adopted");

    assertThat(stage.calls).containsExactly("1.attach", "1.takeBack", "1.close");
    assertUntouched();
    stage.handingOver();
    assertThat(adopt(LONG).generation()).as("the next try").isEqualTo(2);
  }

  @Test
  void whatWasAboutToBeCopiedWhenADaemonDiedIsNotAdopted() throws IOException {
    // A target that had not started when the daemon died has a number all the same.
    beginUnderAnotherDaemon(Optional.empty(), 2);

    assertThat(takeBack()).singleElement().asString().contains("was not adopted");

    assertThat(stage.calls).containsExactly("1.attach", "1.close");
    assertUntouched();
  }

  @Test
  void whatTheTargetHasRunStaysInDoubtUnderTheNextDaemon() throws IOException {
    stage.ran = Optional.of(true);
    stage.on("1.attach", source -> source.runState = RunState.SENDING);
    beginUnderAnotherDaemon(gone(), 2);

    assertThat(takeBack()).singleElement().asString().contains("was reattached");

    assertThat(stage.calls).doesNotContain("1.takeBack", "1.resume", "1.close");
    assertThat(hyperplexor.show("g").detail()).contains(Hosting.RAN);
    hyperplexor.letGo();
    hyperplexor = hyperplexor();
    assertThat(takeBack()).singleElement().asString().contains("was reattached");
    assertThat(hyperplexor.show("g").detail()).as("under a third daemon").contains(Hosting.RAN);
  }
}
