package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.Progress.NONE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.EndPolicy;
import dev.hyperfresh.hypervisor.EndPolicy.Then;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.Semaphore;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;

/// Guests that are started and end under one daemon after the other, in virtual time.
abstract class LifeScene {
  static final Duration LONG = Duration.ofSeconds(10);
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");

  @TempDir Path folder;
  Stage stage;
  Hyperplexor hyperplexor;

  /// When guests are started by themselves.
  VirtualPace pace = new VirtualPace();

  /// `guest why` of each start.
  final List<String> started = Collections.synchronizedList(new ArrayList<>());

  /// One for each of them.
  final Semaphore starts = new Semaphore(0);

  /// Time that passes only when it is told to.
  static final class VirtualPace implements Pace {
    private final List<Task> tasks = new ArrayList<>();
    private Instant now = Instant.EPOCH;

    private record Task(Instant at, Runnable what) {}

    @Override
    public synchronized Instant now() {
      return now;
    }

    @Override
    public synchronized void after(Duration delay, Runnable task) {
      tasks.add(new Task(now.plus(delay), task));
    }

    /// How long until the next task, if there is one.
    synchronized Optional<Duration> next() {
      return tasks.stream()
          .map(task -> Duration.between(now, task.at()))
          .min(Comparator.naturalOrder());
    }

    private synchronized Optional<Task> take(Instant until) {
      Optional<Task> first =
          tasks.stream()
              .min(Comparator.comparing(Task::at))
              .filter(task -> !task.at().isAfter(until));
      first.ifPresent(task -> {
        tasks.remove(task);
        now = task.at();
      });
      return first;
    }

    private synchronized void arrive(Instant at) {
      now = at;
    }

    /// Lets time pass, and does what is to be done meanwhile.
    void pass(Duration time) {
      Instant until = now().plus(time);
      for (Optional<Task> task = take(until); task.isPresent(); task = take(until)) {
        task.get().what().run();
      }
      arrive(until);
    }
  }

  @BeforeEach
  void open() {
    stage = new Stage(folder);
    hyperplexor = daemon();
    begin();
  }

  @AfterEach
  void close() {
    hyperplexor.close();
  }

  private Hyperplexor daemon() {
    return daemon(folder.resolve("state"));
  }

  /// One on another directory, or on the same by another name.
  Hyperplexor daemon(Path state) {
    return new Hyperplexor(
        state,
        new Kinds(stage),
        NO_KVM,
        new GuestWatch() {
          @Override
          public void changed(GuestView guest) {
            stage.views.add(guest);
          }

          @Override
          public void started(GuestView guest, StartReason why) {
            started.add(guest.spec().name() + " " + why.label());
            starts.release();
          }
        });
  }

  private void begin() {
    begin(pace);
  }

  void begin(Pace with) {
    hyperplexor.startThemselves(with, (name, why) -> hyperplexor.start(name, Stage.OLD, why, NONE));
  }

  /// Another daemon on the same directory, which takes back what there is.
  void nextDaemon() {
    hyperplexor.letGo();
    comesBack();
  }

  /// The host boots, and with it the next daemon.
  void reboot() {
    hyperplexor.letGo();
    inEarlierBoot();
    comesBack();
  }

  void comesBack() {
    takesBack();
    pace = new VirtualPace();
    begin();
  }

  /// A daemon that has not begun to start guests.
  void takesBack() {
    hyperplexor = daemon();
    hyperplexor.takeBack(_ -> Stage.OLD, Map.of(), LONG, _ -> {}, _ -> {});
  }

  /// Whatever was written down was so in an earlier boot of the host.
  void inEarlierBoot() {
    try (var files = Files.list(folder.resolve("state/guests"))) {
      for (Path guest : files.toList()) {
        Path file = guest.resolve("guest.properties");
        Files.write(
            file,
            Files.readAllLines(file).stream()
                .map(line ->
                    line.replaceFirst("^((running\\.|restarts\\.)?boot)=.*", "$1=an-earlier-one"))
                .toList());
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Something that a test does.
  interface Scene {
    void play() throws Exception;
  }

  /// Meanwhile all instances are a process that lives, whatever becomes of the daemon.
  void surviving(Scene scene) throws Exception {
    Process process = new ProcessBuilder("sleep", "60").start();
    stage.process = OptionalInt.of((int) process.pid());
    try {
      scene.play();
    } finally {
      stage.process = OptionalInt.empty();
      process.destroyForcibly();
    }
  }

  GuestView create(String name) {
    return hyperplexor.create(stage.spec(name), Stage.OLD, NONE);
  }

  GuestView create(String name, Then onCrash, Then onReboot, Then onPoweroff) {
    return hyperplexor.create(
        stage.spec(name).ending(new EndPolicy(onCrash, onReboot, onPoweroff)), Stage.OLD, NONE);
  }

  GuestView start(String name) {
    return hyperplexor.start(name, Stage.OLD, StartReason.REQUEST, NONE);
  }

  /// How a guest is when it has dealt with all that it was told.
  GuestView settled(String name) {
    var _ = hyperplexor.hasHeartbeat(name);
    return hyperplexor.show(name);
  }

  /// Ends the hypervisor of a guest, which has not asked for that.
  GuestView crash(String name) {
    stage.actor(name, hyperplexor.show(name).generation()).die("killed by signal 11");
    return settled(name);
  }

  static void assertProblem(Problem problem, Runnable action) {
    assertThatThrownBy(action::run)
        .isInstanceOf(HyperFreshException.class)
        .extracting(StagedRelease::code)
        .isEqualTo(problem.code());
  }

  void assertState(String name, GuestView.State state) {
    assertThat(settled(name).state()).as(settled(name).detail()).isEqualTo(state);
  }
}
