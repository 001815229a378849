package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Dry runs whose rehearsal never ends by itself.
@Timeout(20)
class PlansTest {
  private static final KvmProbe.Result NO_KVM =
      new KvmProbe.Result(KvmProbe.Verdict.ABSENT, 0, 0, false, "there is none.");
  private static final Duration LONG = Duration.ofSeconds(10);

  @TempDir Path folder;
  private Stage stage;
  private Hyperplexor hyperplexor;

  /// Guests whose dry run has come to its rehearsal, and those whose rehearsal was given up.
  private final BlockingQueue<String> hanging = new LinkedBlockingQueue<>();

  private final BlockingQueue<String> givenUp = new LinkedBlockingQueue<>();

  /// Somebody who waits for a dry run, and what came of it.
  private record Client(Thread thread, CompletableFuture<Object> result) {
    Problem problem() {
      try {
        throw new AssertionError("it ended with " + result.join());
      } catch (CompletionException e) {
        return e.getCause() instanceof HyperFreshException known
            ? known.problem()
            : Problem.INTERNAL;
      }
    }
  }

  @BeforeEach
  void open() {
    stage = new Stage(folder);
    hyperplexor =
        new Hyperplexor(folder.resolve("state"), new Kinds(stage), NO_KVM, stage.views::add);
    stage.rehearsing = this::hang;
  }

  @AfterEach
  void close() {
    hyperplexor.close();
    stage.close();
  }

  /// A replacement's own rehearsal goes well.
  private void hang(Stage.Actor actor) {
    if (!Thread.currentThread().getName().startsWith("hf-plan-")) {
      return;
    }
    hanging.add(actor.guest());
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException e) {
      givenUp.add(actor.guest());
      Thread.currentThread().interrupt();
    }
  }

  private void guests(String... names) {
    for (String name : names) {
      hyperplexor.create(stage.spec(name), Stage.OLD, Progress.NONE);
    }
  }

  private static Client client(Supplier<?> work) {
    CompletableFuture<Object> result = new CompletableFuture<>();
    Thread thread =
        Thread.ofVirtual()
            .start(() -> {
              try {
                result.complete(work.get());
              } catch (Throwable e) {
                result.completeExceptionally(e);
              }
            });
    return new Client(thread, result);
  }

  private Client plan(String guest) {
    return client(() -> hyperplexor.plan(guest, Stage.NEW, true, false, Progress.NONE));
  }

  /// A dry run that hangs in its rehearsal.
  private Client stuck(String guest) throws InterruptedException {
    Client client = plan(guest);
    assertThat(hanging.take()).isEqualTo(guest);
    return client;
  }

  private void assertBusy(String guest, String why) {
    assertThatThrownBy(() -> hyperplexor.plan(guest, Stage.NEW, true, false, Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(Problem.PLAN_BUSY);
              assertThat(refused.detail()).contains(why);
            });
  }

  @Test
  void aStopDoesNotWaitForAnAbandonedDryRun() throws Exception {
    guests("web1");
    Client abandoned = stuck("web1");

    assertThat(hyperplexor.stop("web1", Duration.ZERO).state()).isEqualTo(GuestView.State.STOPPED);

    assertThat(givenUp.take()).isEqualTo("web1");
    assertThat(abandoned.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
  }

  @Test
  void aReplacementDoesNotWaitForDryRunsOfItsGuestOrOfOthers() throws Exception {
    guests("web1", "web2");
    stage.handingOver();
    Client own = stuck("web1");
    Client other = plan("web2");

    assertThat(hyperplexor.replace("web1", Stage.NEW, LONG, Progress.NONE).outcome())
        .isEqualTo(Outcome.COMMITTED);

    assertThat(own.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
    // It had waited for its turn to rehearse, and goes on.
    assertThat(hanging.take()).isEqualTo("web2");
    assertThat(other.result()).isNotDone();
    assertThat(hyperplexor.replace("web2", Stage.NEW, LONG, Progress.NONE).outcome())
        .isEqualTo(Outcome.COMMITTED);
    assertThat(other.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
  }

  @Test
  void aRolloutDoesNotWaitForADryRun() throws Exception {
    guests("web1");
    stage.handingOver();
    Client viewer = stuck("web1");

    Rollout.Result<ReplacementRecord> result =
        hyperplexor.rollOut(
            order(),
            (guest, limit, progress) -> hyperplexor.replace(guest, Stage.NEW, limit, progress),
            Rollout.Audience.NONE);

    assertThat(result.misses()).isEmpty();
    assertThat(hyperplexor.show("web1").release()).isEqualTo(Stage.NEW.name());
    assertThat(viewer.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
  }

  @Test
  void aDryRunEndsWithItsClient() throws Exception {
    guests("web1");
    Client client = stuck("web1");

    client.thread().interrupt();

    assertThat(client.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
    assertThat(givenUp.take()).isEqualTo("web1");
    stage.rehearsing = _ -> {};
    assertThat(awaitPlan("web1")).noneMatch(Check::failed);
  }

  /// The place is free a moment after the client has gone.
  private List<Check> awaitPlan(String guest) {
    while (true) {
      try {
        return hyperplexor.plan(guest, Stage.NEW, true, false, Progress.NONE);
      } catch (HyperFreshException e) {
        assertThat(e.problem()).isEqualTo(Problem.PLAN_BUSY);
        Thread.onSpinWait();
      }
    }
  }

  @Test
  void aRolloutsDryRunEndsWithItsClient() throws Exception {
    guests("web1", "web2");
    Client client = client(() -> hyperplexor.planRollout(order()));
    assertThat(hanging.take()).isEqualTo("web1");

    client.thread().interrupt();

    assertThat(client.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
    assertThat(givenUp.take()).isEqualTo("web1");
    assertThat(hanging).isEmpty();
  }

  @Test
  void aRolloutsDryRunLeavesAGuestAloneThatHasOne() throws Exception {
    guests("web1");
    stuck("web1");

    Rollout.Entry<ReplacementRecord> entry = hyperplexor.planRollout(order()).entries().getFirst();

    assertThat(entry.outcome()).isEqualTo(Rollout.Outcome.LEFT_ALONE);
    assertThat(entry.problem()).isEqualTo(Problem.PLAN_BUSY.code());
  }

  @Test
  void oneOfAGuestAndFourOfAllAreUnderWay() throws Exception {
    List<String> names = new ArrayList<>();
    for (int i = 0; i <= Plans.MOST; i++) {
      names.add("web" + i);
    }
    guests(names.toArray(String[]::new));
    stuck("web0");
    assertBusy("web0", "Another dry run of guest web0");
    for (String name : names.subList(1, Plans.MOST)) {
      plan(name);
    }
    // The others wait for their turn to rehearse.
    while (underWay() < Plans.MOST) {
      Thread.onSpinWait();
    }
    assertBusy("web4", "4 dry runs of other guests");
  }

  private static long underWay() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("hf-plan-web"))
        .count();
  }

  @Test
  void noneBeginsWhileTheGuestIsChanged() throws Exception {
    guests("web1");
    CountDownLatch ending = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    stage.on(
        "1.end",
        _ -> {
          ending.countDown();
          try {
            go.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
        });
    Client stop = client(() -> hyperplexor.stop("web1", Duration.ZERO));
    ending.await();

    assertBusy("web1", "is being changed");

    go.countDown();
    stop.result().join();
  }

  @Test
  void aDaemonThatEndsOrIsReplacedWaitsForNone() throws Exception {
    guests("web1");
    Client first = stuck("web1");

    assertThat(hyperplexor.halt(Duration.ofSeconds(5))).isTrue();

    assertThat(first.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
    assertThat(plan("web1").problem()).isEqualTo(Problem.DAEMON_UPGRADING);
    hyperplexor.goOn();
    Client second = stuck("web1");
    hyperplexor.endPlans();
    assertThat(second.problem()).isEqualTo(Problem.PLAN_GIVEN_UP);
  }

  private static GuestRollout.Order order() {
    return new GuestRollout.Order(
        List.of(),
        Stage.NEW,
        Optional.empty(),
        new Rollout.Pace(1, 0, Duration.ZERO),
        LONG,
        true,
        false);
  }
}
