package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.MissingCallException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(20)
class HyperplexorTest {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  private static final Duration LONG = Duration.ofSeconds(10);

  @TempDir Path folder;
  private Stage stage;
  private Hyperplexor hyperplexor;

  @BeforeEach
  void open() {
    stage = new Stage(folder);
    hyperplexor =
        new Hyperplexor(folder.resolve("state"), new Kinds(stage), NO_KVM, stage.views::add);
  }

  @AfterEach
  void close() {
    hyperplexor.close();
  }

  @Test
  void aGuestIsMadeMovedAndDeleted() {
    stage.handingOver();

    GuestView made = hyperplexor.create(stage.spec("web1"), Stage.OLD, NONE);
    assertThat(made.state()).isEqualTo(GuestView.State.RUNNING);
    assertThat(hyperplexor.list()).containsExactly(made);
    assertThat(hyperplexor.plan("web1", Stage.NEW, true, false, NONE))
        .isNotEmpty()
        .noneMatch(Check::failed);
    ReplacementRecord record = hyperplexor.replace("web1", Stage.NEW, LONG, NONE);
    assertThat(record.outcome()).isEqualTo(Outcome.COMMITTED);
    assertThat(hyperplexor.show("web1").release()).isEqualTo(Stage.NEW.name());
    hyperplexor.delete("web1");

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(made.files()).doesNotExist();
    assertThat(stage.actors).noneMatch(actor -> actor.alive);
  }

  @Test
  void aHypervisorThatFloodsDoesNotFillTheDaemon() throws Exception {
    try (Stage own = new Stage(folder)) {
      Guest guest = own.guest("flooded");
      CountDownLatch go = new CountDownLatch(1);
      Thread busy =
          Thread.ofPlatform()
              .start(() ->
                  guest.call(() -> {
                    go.await();
                    return true;
                  }));
      for (int i = 0; i < 200_000; i++) {
        own.actor(1).tell(new InstanceEvent.Stopped(1, i));
      }
      assertThat(guest.mailbox().size()).isLessThanOrEqualTo(10_000);
      own.actor(1).die("flooded");
      go.countDown();
      busy.join();

      assertThat(guest.call(() -> guest.view().state())).isEqualTo(GuestView.State.STOPPED);
      guest.delete(true);
    }
  }

  @Test
  void eventsThatAReplacementTakesLeaveNoWorkBehind() throws Exception {
    try (Stage own = new Stage(folder)) {
      Guest guest = own.guest("flooded");
      long before = liveBytes();
      long after =
          guest.call(() -> {
            for (int i = 0; i < 2_000_000; i++) {
              own.actor(1).tell(new InstanceEvent.Stopped(1, i));
              assertThat(guest.await(0)).isNotNull();
            }
            return liveBytes();
          });
      assertThat(after - before).isLessThan(32L << 20);
      guest.delete(true);
    }
  }

  private static long liveBytes() {
    System.gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
  }

  @Test
  void whatLiesInTheStateDirectoryIsTheUsersAlone() throws Exception {
    hyperplexor.create(stage.spec("web1"), Stage.OLD, NONE);
    // Passing through is what a hypervisor with a user of its own needs to get to its release.
    assertThat(mode("")).isEqualTo(Confiner.ofThisHost().givesUsers() ? "rwx--x--x" : "rwx------");
    assertThat(mode("run")).isEqualTo("rwx------");
    assertThat(mode("guests")).isEqualTo("rwx------");
    assertThat(mode("guests/web1")).isEqualTo("rwx------");
    assertThat(mode("journal.log")).isEqualTo("rw-------");
  }

  private String mode(String name) throws Exception {
    return PosixFilePermissions.toString(
        Files.getPosixFilePermissions(folder.resolve("state").resolve(name)));
  }

  @Test
  void aFolderOfSocketsThatOthersMayEnterIsNotUsedAsItIs() throws Exception {
    Path open = folder.resolve("open/run");
    Files.createDirectories(open);
    Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
    try (Hyperplexor other =
        new Hyperplexor(folder.resolve("open"), new Kinds(stage), NO_KVM, _ -> {})) {
      assertThat(other.list()).isEmpty();
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(open)))
          .isEqualTo("rwx------");
    } catch (HyperFreshException refused) {
      assertThat(refused.problem()).isEqualTo(Problem.DAEMON_STATE);
    }
  }

  @Test
  void aCallThatTheHostLacksIsNamedAndNothingIsLeft() {
    stage.failing("1.start", MissingCallException.inLibrary("pidfd_open"));

    assertProblem(Problem.HOST_SYSTEM, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(folder.resolve("state/guests/g")).doesNotExist();
  }

  @Test
  void aGuestThatDoesNotStartLeavesNothingBehind() {
    stage.failing("1.start", Problem.GUEST_START.because("It says no."));

    assertProblem(Problem.GUEST_START, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(folder.resolve("state/guests/g")).doesNotExist();
    stage.on("1.start", _ -> {});
    assertThat(hyperplexor.create(stage.spec("g"), Stage.OLD, NONE).state())
        .isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void aGuestWhoseNetworkCannotBeMadeLeavesNothingBehind() {
    GuestSpec spec = stage.spec("g");
    GuestSpec wired =
        new GuestSpec(
            spec.name(),
            spec.vcpus(),
            spec.memoryBytes(),
            spec.machine(),
            spec.cpu(),
            spec.accelerator(),
            spec.boot(),
            spec.disks(),
            List.of(new GuestSpec.Nic("lo", Optional.empty(), "52:54:00:00:00:01")));

    assertThatThrownBy(() -> hyperplexor.create(wired, Stage.OLD, NONE))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("Tap lo cannot be created");

    assertThat(hyperplexor.list()).isEmpty();
    assertThat(stage.calls).isEmpty();
    assertThat(folder.resolve("state/guests/g")).doesNotExist();
  }

  @Test
  void aSpecWithFaultsTouchesNothing() {
    GuestSpec spec = stage.spec("g");
    GuestSpec faulty =
        new GuestSpec(
            "a b",
            0,
            spec.memoryBytes(),
            spec.machine(),
            spec.cpu(),
            spec.accelerator(),
            spec.boot(),
            spec.disks(),
            spec.nics());

    assertThatThrownBy(() -> hyperplexor.create(faulty, Stage.OLD, NONE))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("name: ")
        .hasMessageContaining("vcpus: ");

    assertThat(stage.calls).isEmpty();
    assertThat(folder.resolve("state/guests")).doesNotExist();
  }

  @Test
  void namesAreTakenOnce() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);

    assertProblem(Problem.GUEST_EXISTS, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));
    assertProblem(Problem.GUEST_UNKNOWN, () -> hyperplexor.show("h"));
    assertProblem(Problem.GUEST_UNKNOWN, () -> hyperplexor.delete("h"));
    assertThat(hyperplexor.show("g").state()).isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void twoReplacementsAtOnceAreRefused() throws Exception {
    CountDownLatch preparing = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    stage
        .handingOver()
        .on(
            "2.startWaiting",
            _ -> {
              preparing.countDown();
              await(goOn);
            });
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    CompletableFuture<ReplacementRecord> first =
        CompletableFuture.supplyAsync(() -> hyperplexor.replace("g", Stage.NEW, LONG, NONE));
    await(preparing);

    assertProblem(Problem.REPLACE_BUSY, () -> hyperplexor.replace("g", Stage.NEW, LONG, NONE));
    goOn.countDown();

    assertThat(first.get(5, TimeUnit.SECONDS).outcome()).isEqualTo(Outcome.COMMITTED);
  }

  @Test
  void aGuestCanBeDeletedWhileItIsReplaced() throws Exception {
    CountDownLatch preparing = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    stage
        .handingOver()
        .on(
            "2.startWaiting",
            _ -> {
              preparing.countDown();
              await(goOn);
            });
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    CompletableFuture<String> replacement = CompletableFuture.supplyAsync(this::outcome);
    await(preparing);
    CompletableFuture<?> deletion = CompletableFuture.runAsync(() -> hyperplexor.delete("g"));
    goOn.countDown();

    deletion.get(10, TimeUnit.SECONDS);
    assertThat(replacement.get(10, TimeUnit.SECONDS)).isEqualTo("committed");
    assertThat(stage.actors).hasSize(2).noneMatch(actor -> actor.alive);
    assertThat(hyperplexor.list()).isEmpty();
  }

  @Test
  void aGuestThatEndsByItselfIsStopped() throws Exception {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);

    stage.actor(1).die("powered off");
    settled("g");

    assertThat(hyperplexor.show("g").state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(hyperplexor.show("g").detail()).isEqualTo("powered off");
    assertThat(stage.actor(1).closed).isTrue();
  }

  @Test
  void aGuestIsAskedToPowerOffBeforeItIsEnded() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    stage.on("1.powerOff", actor -> actor.die("powered off"));

    assertThat(hyperplexor.stop("g", LONG).state()).isEqualTo(GuestView.State.STOPPED);

    assertThat(stage.replacementCalls())
        .containsSubsequence("1.powerOff", "1.end")
        .endsWith("1.close");
  }

  @Test
  void aGuestThatCannotBeAskedIsEndedAllTheSame() {
    hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    stage.failing("1.powerOff", Problem.GUEST_STATE.because("It does not listen."));

    assertThat(hyperplexor.stop("g", LONG).state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(stage.actor(1).alive).isFalse();
  }

  @Test
  void aGuestThatIsBeingMadeIsMadeToTheEndWhenItsMakerIsInterrupted() throws Exception {
    CountDownLatch starting = new CountDownLatch(1);
    CountDownLatch goOn = new CountDownLatch(1);
    stage.on(
        "1.start",
        _ -> {
          starting.countDown();
          await(goOn);
        });
    CompletableFuture<GuestView> made = new CompletableFuture<>();
    Thread maker =
        Thread.ofPlatform()
            .start(() -> made.complete(hyperplexor.create(stage.spec("g"), Stage.OLD, NONE)));
    await(starting);
    // As when the daemon is told to end: whoever serves a request is interrupted, and all is let
    // go.
    maker.interrupt();
    CompletableFuture<?> end = CompletableFuture.runAsync(hyperplexor::letGo);
    assertThat(maker.join(Duration.ofMillis(300))).isFalse();
    assertThat(folder.resolve("state/guests/g/guest.properties")).exists();
    goOn.countDown();

    assertThat(made.get(10, TimeUnit.SECONDS).state()).isEqualTo(GuestView.State.RUNNING);
    end.get(10, TimeUnit.SECONDS);
    assertThat(folder.resolve("state/guests/g/guest.properties")).exists();
    assertThat(stage.actor(1).alive).isTrue();
  }

  @Test
  void aGuestThatCannotBeUndoneKeepsItsFolderUntilItIsDeleted() {
    HyperFreshException refused = Problem.INTERNAL.because("It stays.");
    stage.failing("1.end", refused).failing("1.kill", refused);
    // The process runs, and cannot be written down.
    Path file = folder.resolve("state/guests/g/guest.properties.new");
    stage.on("1.start", _ -> assertThat(file.toFile().mkdir()).isTrue());

    assertProblem(Problem.DAEMON_STATE, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));

    assertThat(stage.actor(1).alive).isTrue();
    assertThat(file.getParent()).isDirectory();
    assertProblem(Problem.GUEST_EXISTS, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));
    stage.on("1.end", _ -> {}).on("1.kill", _ -> {});
    hyperplexor.delete("g");
    assertThat(stage.actor(1).alive).isFalse();
    assertThat(file.getParent()).doesNotExist();
    assertThat(hyperplexor.list()).isEmpty();
  }

  @Test
  void aStoppedGuestStaysListedUnderTheNextDaemonUntilItIsDeleted() {
    GuestView made = hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    assertThat(usersOf(made)).hasSize(Confiner.ofThisHost().givesUsers() ? 1 : 0);
    stage.on("1.powerOff", actor -> actor.die("powered off"));
    GuestView stopped = hyperplexor.stop("g", LONG);
    assertThat(stopped.stoppedAt()).isPresent();
    assertThat(usersOf(made)).isEmpty();

    nextDaemon();

    GuestView found = hyperplexor.show("g");
    assertThat(hyperplexor.list()).containsExactly(found);
    assertThat(found.state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(found.detail()).isEqualTo(stopped.detail());
    assertThat(found.stoppedAt()).isEqualTo(stopped.stoppedAt());
    assertThat(found.createdAt()).isEqualTo(made.createdAt());
    assertThat(hyperplexor.stop("g", LONG)).isEqualTo(found);
    assertProblem(Problem.GUEST_EXISTS, () -> hyperplexor.create(stage.spec("g"), Stage.OLD, NONE));
    assertProblem(Problem.GUEST_STATE, () -> hyperplexor.replace("g", Stage.NEW, LONG, NONE));
    hyperplexor.delete("g");
    assertThat(hyperplexor.list()).isEmpty();
    assertThat(made.files()).doesNotExist();
    assertThat(hyperplexor.create(stage.spec("g"), Stage.OLD, NONE).state())
        .isEqualTo(GuestView.State.RUNNING);
  }

  @Test
  void aGuestThatEndedWhileNoDaemonRanStaysListedToo() {
    GuestView made = hyperplexor.create(stage.spec("g"), Stage.OLD, NONE);
    assertThat(nextDaemon()).singleElement().asString().contains("ended while no daemon ran");
    GuestView found = hyperplexor.show("g");
    assertThat(found.state()).isEqualTo(GuestView.State.STOPPED);
    assertThat(found.detail()).isEqualTo("ended while no daemon ran");
    assertThat(usersOf(made)).isEmpty();

    assertThat(nextDaemon()).as("told once").isEmpty();
    assertThat(hyperplexor.list()).containsExactly(found);
  }

  /// What the next daemon on the same directory tells.
  private List<String> nextDaemon() {
    List<String> told = Collections.synchronizedList(new ArrayList<>());
    hyperplexor.letGo();
    hyperplexor =
        new Hyperplexor(folder.resolve("state"), new Kinds(stage), NO_KVM, stage.views::add);
    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, told::add, _ -> {});
    return told;
  }

  /// The users that a guest of this host has.
  static List<Path> usersOf(GuestView guest) {
    Path users = Path.of("/run/hyperfresh/users");
    if (!Files.isDirectory(users)) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(users)) {
      return all.filter(user -> holds(user, guest.files().toString())).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean holds(Path user, String text) {
    try {
      return Files.readString(user).equals(text);
    } catch (IOException gone) {
      return false;
    }
  }

  @Test
  void oneGuestThatCannotBeDeletedDoesNotKeepTheOthersRunning() {
    Hyperplexor other = new Hyperplexor(folder.resolve("other"), new Kinds(stage), NO_KVM, _ -> {});
    for (String name : new String[] {"a", "b", "c"}) {
      other.create(stage.spec(name), Stage.OLD, NONE);
    }
    boolean[] thrown = {false};
    stage.on(
        "1.close",
        _ -> {
          if (!thrown[0]) {
            thrown[0] = true;
            throw new IllegalStateException("a full disk");
          }
        });
    try {
      other.close();
    } catch (HyperFreshException e) {
      assertThat(e.problem()).isEqualTo(Problem.INTERNAL);
    }

    assertThat(stage.actors).hasSize(3).noneMatch(actor -> actor.alive);
  }

  private String outcome() {
    try {
      return hyperplexor.replace("g", Stage.NEW, LONG, NONE).outcome().label();
    } catch (HyperFreshException e) {
      return e.problem().code();
    }
  }

  /// Whatever was told to the guest before has been dealt with when this returns.
  private void settled(String name) {
    var _ = hyperplexor.hasHeartbeat(name);
  }

  private static void assertProblem(Problem problem, Runnable action) {
    assertThatThrownBy(action::run)
        .isInstanceOf(HyperFreshException.class)
        .extracting(StagedRelease::code)
        .isEqualTo(problem.code());
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(10, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
