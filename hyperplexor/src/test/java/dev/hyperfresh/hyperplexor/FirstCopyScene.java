package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.KvmProbe;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;
import org.assertj.core.api.AbstractThrowableAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A process that has its guest's memory for itself, and daemons that adopt it.
@Timeout(30)
abstract class FirstCopyScene {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  static final Duration LONG = Duration.ofSeconds(10);
  static final Duration DOWNTIME = Duration.ofMillis(300);

  @TempDir Path folder;

  final List<GuestView> told = Collections.synchronizedList(new ArrayList<>());
  final List<String> steps = Collections.synchronizedList(new ArrayList<>());
  final List<ReplacementRecord> records = Collections.synchronizedList(new ArrayList<>());

  /// Whether somebody still wants what is being done.
  volatile Runnable wanted = () -> {};

  Stage stage;
  Process process;
  Process second;
  Hyperplexor hyperplexor;

  @BeforeEach
  void open() throws IOException {
    stage = new Stage(folder);
    stage.privateMemory = true;
    process = new ProcessBuilder("sleep", "60").start();
    second = new ProcessBuilder("sleep", "60").start();
    stage.process = OptionalInt.of((int) process.pid());
    hyperplexor = hyperplexor();
  }

  @AfterEach
  void close() {
    hyperplexor.close();
    process.destroyForcibly();
    second.destroyForcibly();
    stage.close();
  }

  Hyperplexor hyperplexor() {
    return new Hyperplexor(state(), new Kinds(stage), NO_KVM, told::add);
  }

  Path state() {
    return folder.resolve("state");
  }

  Path files() {
    return state().resolve("guests/g");
  }

  GuestView adopt(Duration limit) {
    return adopt("g", process, limit);
  }

  GuestView adopt(String name, Process one, Duration limit) {
    return hyperplexor.adopt(
        new AdoptOrder(
            name,
            (int) one.pid(),
            Path.of("/control"),
            Optional.empty(),
            (_, _) -> Stage.OLD,
            Optional.of(
                new AdoptOrder.Copy(_ -> Stage.NEW, new MemoryCopy(limit, DOWNTIME), records::add)),
            false),
        new Progress() {
          @Override
          public void step(String state, String text) {
            steps.add(name + " " + state + " " + text);
          }

          @Override
          public void requireWanted() {
            wanted.run();
          }
        });
  }

  AbstractThrowableAssert<?, ? extends Throwable> assertNotAdopted(
      Problem problem, Duration limit) {
    return assertThatThrownBy(() -> adopt(limit))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
  }

  /// It runs on in its process, and nothing shows that somebody wanted it.
  void assertUntouched() {
    assertThat(stage.calls).endsWith("1.close").doesNotContain("1.end", "1.kill");
    assertThat(hyperplexor.list()).isEmpty();
    assertThat(told).isEmpty();
    assertThat(files()).doesNotExist();
    assertThat(Journal.unfinished(state().resolve("journal.log"))).isEmpty();
  }

  List<String> takeBack() {
    List<String> sentences = Collections.synchronizedList(new ArrayList<>());
    Function<String, Release> releases =
        name -> name.equals(Stage.OLD.name()) ? Stage.OLD : Stage.NEW;
    hyperplexor.takeBack(releases, Map.of(), LONG, sentences::add, _ -> {});
    return sentences;
  }

  /// What happens while the copy of guest `h` waits for that of guest `g`, which then goes on.
  ///
  /// @return how the adoption of `h` ends
  CompletableFuture<GuestView> waitingForG(Runnable meanwhile) throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CompletableFuture<Boolean> goOn = new CompletableFuture<>();
    stage.on(
        "1.handOver",
        source -> {
          begun.countDown();
          goOn.join();
          stage.handOverFirst(source);
        });
    CompletableFuture<GuestView> first =
        CompletableFuture.supplyAsync(() -> adopt(LONG), FirstCopyScene::run);
    begun.await();
    CompletableFuture<GuestView> next =
        CompletableFuture.supplyAsync(() -> adopt("h", second, LONG), FirstCopyScene::run);
    while (!steps.contains("h copy waiting for another copy")) {
      Thread.sleep(10);
    }
    meanwhile.run();
    goOn.complete(true);
    assertThat(first.get().generation()).isEqualTo(2);
    return next;
  }

  static void run(Runnable task) {
    Thread.ofPlatform().daemon().start(task);
  }
}
