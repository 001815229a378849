package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.hypervisor.RunState;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Guests are started again, edited and deleted because somebody asks for it.
@Timeout(30)
class GuestStartTest extends LifeScene {
  private Path file() {
    return folder.resolve("state/guests/g/guest.properties");
  }

  @Test
  void aGuestThatWasStoppedIsStartedAgain() {
    create("g");
    GuestView stopped = hyperplexor.stop("g", Duration.ZERO);
    assertThat(stopped.starts().release()).isEqualTo(Stage.OLD.name());

    GuestView again = start("g");

    assertThat(again.state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(again.generation()).isEqualTo(2);
    assertThat(again.stoppedAt()).isEmpty();
    assertThat(stage.actor(1).alive).isFalse();
    assertThat(stage.actor(2).alive).isTrue();
    assertThat(stage.calls).as("fixed once").containsOnlyOnce("pin");
    assertThat(started).containsExactly("g request", "g request");
    assertThat(stage.views.stream().map(GuestView::state))
        .containsExactly(
            GuestView.State.RUNNING,
            GuestView.State.STOPPED,
            GuestView.State.STARTING,
            GuestView.State.RUNNING);
  }

  @Test
  void aGuestThatRunsIsNotStartedTwice() {
    create("g");

    assertThat(start("g").generation()).isEqualTo(1);

    assertThat(stage.actors).hasSize(1);
  }

  @Test
  void ofTwoStartsAtOnceOneDoesIt() throws Exception {
    CountDownLatch starting = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    stage.on(
        "2.start",
        _ -> {
          starting.countDown();
          await(goOn);
        });
    CompletableFuture<GuestView> first = CompletableFuture.supplyAsync(() -> start("g"));
    await(starting);
    CompletableFuture<GuestView> second = CompletableFuture.supplyAsync(() -> start("g"));
    goOn.countDown();

    assertThat(first.get(10, TimeUnit.SECONDS).generation()).isEqualTo(2);
    assertThat(second.get(10, TimeUnit.SECONDS).generation()).isEqualTo(2);
    assertThat(stage.actors).hasSize(2);
  }

  @Test
  void aGuestThatEndedWhileNoDaemonRanIsStartedByTheNextOne() {
    create("g");
    nextDaemon();
    assertThat(hyperplexor.show("g").detail()).isEqualTo("ended while no daemon ran");

    assertThat(start("g").generation()).isEqualTo(2);

    hyperplexor.stop("g", Duration.ZERO);
    nextDaemon();
    assertThat(start("g").generation()).isEqualTo(3);
  }

  @Test
  void noGenerationIsUsedAgain() {
    stage.handingOver();
    create("g");
    assertThat(hyperplexor.replace("g", Stage.NEW, LONG, NONE).committed()).isTrue();
    hyperplexor.stop("g", Duration.ZERO);
    nextDaemon();
    stage.failing("3.start", Problem.GUEST_START.because("It says no."));
    assertProblem(Problem.GUEST_START, () -> start("g"));
    nextDaemon();

    assertThat(start("g").generation()).isEqualTo(4);
  }

  @Test
  void itStartsWhereItRanLastUnlessAnotherReleaseIsNamed() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);

    GuestView newer = hyperplexor.start("g", Stage.NEW, StartReason.REQUEST, NONE);

    assertThat(newer.release()).isEqualTo(Stage.NEW.name());
    hyperplexor.stop("g", Duration.ZERO);
    nextDaemon();
    assertThat(hyperplexor.show("g").starts().release()).isEqualTo(Stage.NEW.name());
  }

  @Test
  void aGuestThatDoesNotStartStaysStoppedAndCanBeStartedLater() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    stage.failing("2.start", Problem.GUEST_START.because("It says no."));

    assertProblem(Problem.GUEST_START, () -> start("g"));

    assertState("g", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").detail())
        .isEqualTo("stopped by request; not started: It says no.");
    assertThat(start("g").generation()).isEqualTo(3);
  }

  /// Its process runs, and cannot be written down.
  @Test
  void aGuestThatCannotBeWrittenDownIsEndedAndStaysStartable() throws IOException {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    Path draft = file().resolveSibling("guest.properties.new");
    stage.on("2.start", _ -> assertThat(draft.toFile().mkdir()).isTrue());

    assertProblem(Problem.DAEMON_STATE, () -> start("g"));

    assertState("g", GuestView.State.STOPPED);
    assertThat(stage.actor(2).alive).isFalse();
    Files.deleteIfExists(draft);
    assertThat(start("g").state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void aDaemonThatDiesWhileItStartsAGuestLeavesItStopped() throws Exception {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    Path copy = folder.resolve("copy");
    stage.on("2.start", _ -> copy(file(), copy));
    start("g");
    hyperplexor.letGo();
    copy(copy, file());

    nextDaemon();

    assertState("g", GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").detail()).isEqualTo("stopped by request");
    assertThat(start("g").generation()).isEqualTo(3);
  }

  @Test
  void aProcessThatIsFoundThenIsTheGuest() throws Exception {
    Process process = new ProcessBuilder("sleep", "60").start();
    try {
      create("g");
      hyperplexor.stop("g", Duration.ZERO);
      Path copy = folder.resolve("copy");
      stage.on("2.start", _ -> copy(file(), copy));
      start("g");
      hyperplexor.letGo();
      copy(copy, file());
      stage.process = OptionalInt.of((int) process.pid());
      stage.left = List.of(survivor((int) process.pid(), 2));

      nextDaemon();

      assertState("g", GuestView.State.RUNNING);
      assertThat(hyperplexor.show("g").generation()).isEqualTo(2);
      assertThat(stage.calls).endsWith("2.attach", "2.takeAddresses");
    } finally {
      stage.left = List.of();
      process.destroyForcibly();
    }
  }

  private Reattacher.Survivor survivor(int pid, int generation) {
    return new Reattacher.Survivor(
        Stage.KIND, pid, folder.resolve("state/guests/g"), generation, 0);
  }

  @Test
  void aGuestOfWhichAProcessMayStillLiveIsNotStarted() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    stage.left = List.of(survivor(4711, 1));

    assertThatThrownBy(() -> start("g")).hasMessageContaining("process 4711");

    assertThat(stage.actors).hasSize(1);
    stage.left = List.of();
    assertThat(start("g").state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void aGuestInDoubtIsNotStarted() throws Exception {
    Process process = new ProcessBuilder("sleep", "60").start();
    try {
      stage.process = OptionalInt.of((int) process.pid());
      create("g");
      hyperplexor.letGo();
      Files.writeString(file(), "doubt=the target ran it\n", StandardOpenOption.APPEND);
      stage.on("1.attach", actor -> actor.runState = RunState.SENT);
      nextDaemon();
      assertThat(settled("g").detail()).isEqualTo("paused: the target ran it");

      assertProblem(Problem.GUEST_STATE, () -> start("g"));
      assertProblem(
          Problem.GUEST_STATE, () -> hyperplexor.restart("g", Stage.OLD, Duration.ZERO, NONE));

      assertThat(stage.calls).doesNotContain("2.start");
      hyperplexor.stop("g", Duration.ZERO);
      assertThat(start("g").generation()).isEqualTo(2);
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  void aGuestIsRestarted() {
    create("g");
    stage.on("1.powerOff", actor -> actor.die("powered off"));

    GuestView again = hyperplexor.restart("g", Stage.NEW, LONG, NONE);

    assertThat(again.generation()).isEqualTo(2);
    assertThat(again.release()).isEqualTo(Stage.NEW.name());
    assertThat(stage.calls).containsSubsequence("1.powerOff", "1.close", "2.start");
  }

  @Test
  void aGuestThatWouldNotStartIsNotStoppedForThat() throws IOException {
    create("g");
    Files.delete(folder.resolve("kernel"));

    assertProblem(
        Problem.SPEC_FILE_MISSING, () -> hyperplexor.restart("g", Stage.OLD, Duration.ZERO, NONE));

    assertState("g", GuestView.State.RUNNING);
  }

  @Test
  void aGuestCanBeMadeWithoutAStart() {
    GuestView made = hyperplexor.create(stage.spec("g"), Stage.NEW, false, NONE);

    assertThat(made.state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(made.detail()).isEqualTo("never started");
    assertThat(stage.calls).isEmpty();
    nextDaemon();
    assertThat(hyperplexor.show("g").starts().release()).isEqualTo(Stage.NEW.name());
    assertThat(start("g").generation()).isEqualTo(1);
    assertThat(stage.calls).startsWith("pin", "1.start");
  }

  @Test
  void anAdoptedGuestIsStartedAgainAndCannotBeEdited() throws Exception {
    Process process = new ProcessBuilder("sleep", "60").start();
    try {
      stage.process = OptionalInt.of((int) process.pid());
      hyperplexor.adopt(
          "g",
          (int) process.pid(),
          Path.of("/control"),
          Optional.empty(),
          (_, _) -> Stage.OLD,
          NONE);
      assertProblem(
          Problem.GUEST_STATE, () -> hyperplexor.edit("g", stage.spec("g"), Stage.OLD, false));
      hyperplexor.stop("g", Duration.ZERO);
      nextDaemon();

      GuestView again = start("g");

      assertThat(again.generation()).isEqualTo(2);
      assertThat(again.origin()).isEqualTo(GuestView.Origin.ADOPTED);
      assertThat(stage.calls).doesNotContain("pin");
    } finally {
      process.destroyForcibly();
    }
  }

  private GuestSpec larger(String name) {
    GuestSpec spec = stage.spec(name);
    return new GuestSpec(
        name,
        2,
        spec.memoryBytes() * 2,
        spec.machine(),
        spec.cpu(),
        spec.accelerator(),
        spec.boot(),
        spec.disks(),
        spec.nics());
  }

  @Test
  void anEditIsMadeAtTheNextStart() {
    create("g");

    GuestView edited = hyperplexor.edit("g", larger("g"), Stage.NEW, true);

    assertThat(edited.spec().vcpus()).isEqualTo(1);
    assertThat(edited.starts())
        .isEqualTo(new GuestView.Starts(false, Stage.NEW.name(), true, 0, false));
    hyperplexor.stop("g", Duration.ZERO);
    nextDaemon();
    assertThat(hyperplexor.show("g").starts().release()).isEqualTo(Stage.NEW.name());
    GuestView again = hyperplexor.start("g", Stage.NEW, StartReason.REQUEST, NONE);
    assertThat(again.spec()).isEqualTo(larger("g"));
    assertThat(again.starts().edited()).isFalse();
    assertThat(stage.calls.stream().filter("pin"::equals)).as("decided anew").hasSize(2);
  }

  @Test
  void anEditOfAGuestThatIsStoppedIsShownAtOnce() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);

    GuestView edited = hyperplexor.edit("g", larger("g"), Stage.OLD, false);

    assertThat(edited.spec()).isEqualTo(larger("g"));
    assertThat(edited.starts().release()).isEqualTo(Stage.OLD.name());
    nextDaemon();
    assertThat(hyperplexor.show("g").spec()).isEqualTo(larger("g"));
    assertThat(start("g").spec()).isEqualTo(larger("g"));
  }

  @Test
  void anEditThatCannotBeIsRefused() throws IOException {
    create("g");
    GuestView before = hyperplexor.show("g");

    assertProblem(Problem.SPEC_INVALID, () -> hyperplexor.edit("g", larger("h"), Stage.OLD, false));
    assertProblem(
        Problem.GUEST_UNKNOWN, () -> hyperplexor.edit("h", larger("h"), Stage.OLD, false));
    assertProblem(
        Problem.SPEC_MEMORY,
        () -> hyperplexor.edit("g", stage.spec("g", 1L << 50), Stage.OLD, false));
    GuestSpec spec = larger("g");
    Files.delete(folder.resolve("kernel"));
    assertProblem(Problem.SPEC_FILE_MISSING, () -> hyperplexor.edit("g", spec, Stage.OLD, false));

    assertThat(hyperplexor.show("g")).isEqualTo(before);
  }

  @Test
  void aGuestThatRunsIsDeletedOnlyByForce() {
    create("g");

    assertProblem(Problem.GUEST_RUNS, () -> hyperplexor.delete("g", false));

    assertState("g", GuestView.State.RUNNING);
    assertThat(stage.actor(1).alive).isTrue();
    hyperplexor.delete("g", true);
    assertThat(stage.actor(1).alive).isFalse();
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    hyperplexor.delete("g", false);
    assertThat(hyperplexor.list()).isEmpty();
  }

  @Test
  void aGuestOfWhichAProcessIsLeftIsDeletedOnlyByForce() {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    stage.left = List.of(survivor(4711, 1));

    assertProblem(Problem.GUEST_RUNS, () -> hyperplexor.delete("g", false));
    assertState("g", GuestView.State.STOPPED);
    hyperplexor.delete("g", true);

    assertThat(stage.calls).endsWith("1.end left");
    assertThat(hyperplexor.list()).isEmpty();
  }

  @Test
  void aGuestIsNotMadeWhileAProcessOfAnEarlierOneIsLeft() {
    stage.left = List.of(survivor(4711, 1));

    assertProblem(Problem.GUEST_STATE, () -> create("g"));

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(file().getParent()).doesNotExist();
    stage.left = List.of();
    assertThat(create("g").state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void aStartThatWaitsForADeletionFindsNoGuest() throws Exception {
    CountDownLatch deleting = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    create("g");
    stage.on(
        "1.end",
        _ -> {
          deleting.countDown();
          await(goOn);
        });
    CompletableFuture<Void> delete =
        CompletableFuture.runAsync(() -> hyperplexor.delete("g", true));
    await(deleting);
    CompletableFuture<Throwable> failure = new CompletableFuture<>();
    Thread start = Thread.ofPlatform().start(() -> start("g"));
    start.setUncaughtExceptionHandler((_, why) -> failure.complete(why));
    while (start.getState() != Thread.State.WAITING) {
      Thread.onSpinWait();
    }
    goOn.countDown();
    delete.get(10, TimeUnit.SECONDS);
    start.join();

    assertThat(StagedRelease.code(failure.get(10, TimeUnit.SECONDS)))
        .isEqualTo(Problem.GUEST_UNKNOWN.code());
    assertThat(stage.calls).doesNotContain("2.start");
    assertThat(create("g").generation()).isEqualTo(1);
  }

  @Test
  void anEditThatCannotBeWrittenDownIsNone() throws IOException {
    create("g");
    hyperplexor.stop("g", Duration.ZERO);
    GuestView before = hyperplexor.show("g");
    Path draft = Files.createDirectory(file().resolveSibling("guest.properties.new"));
    Path inside = Files.createFile(draft.resolve("something"));

    assertProblem(Problem.DAEMON_STATE, () -> hyperplexor.edit("g", larger("g"), Stage.OLD, false));

    Files.delete(inside);
    Files.delete(draft);
    assertThat(hyperplexor.show("g")).isEqualTo(before);
    assertThat(start("g").spec()).isEqualTo(stage.spec("g"));
  }

  @Test
  void whatIsTheGuestsOwnIsGivenBackAndTakenAnew() {
    int users = Confiner.ofThisHost().givesUsers() ? 1 : 0;
    GuestView made = create("g");
    assertThat(HyperplexorTest.usersOf(made)).hasSize(users);
    hyperplexor.stop("g", Duration.ZERO);
    assertThat(HyperplexorTest.usersOf(made)).isEmpty();

    start("g");

    assertThat(HyperplexorTest.usersOf(made)).hasSize(users);
  }

  @Test
  void whetherItStartsWithTheHostIsKept() {
    create("g", Then.RESTART, Then.STOP, Then.STOP);

    assertThat(hyperplexor.autostart("g", true).starts().autostart()).isTrue();

    nextDaemon();
    assertThat(hyperplexor.show("g").starts().autostart()).isTrue();
    assertThat(hyperplexor.autostart("g", false).starts().autostart()).isFalse();
    nextDaemon();
    assertThat(hyperplexor.show("g").starts().autostart()).isFalse();
  }

  private static void copy(Path from, Path to) {
    try {
      Files.copy(from, to, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(10, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
