package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;

/// The dry runs that are under way, each on a thread of its own, `hf-plan-NAME`: one a guest and
/// [#MOST] in all, so that those who may only look can keep nobody waiting who changes a guest. A
/// dry run is given up when nobody waits for it any more, when somebody changes its guest, and when
/// the daemon ends. Thread-safe.
final class Plans {
  /// How many are under way at a time, over all guests. Their rehearsals follow each other.
  static final int MOST = 4;

  /// How long the end of those that were given up is waited for: their processes are killed at
  /// once.
  private static final Duration END_LIMIT = Duration.ofSeconds(10);

  private final Map<String, Plan> underWay = new HashMap<>();

  /// How many are changing a guest now, by its name.
  private final Map<String, Integer> changing = new HashMap<>();

  private final Lock rehearsing = new ReentrantLock(true);
  private boolean closed;

  /// One dry run.
  private static final class Plan {
    private final CompletableFuture<List<Check>> result = new CompletableFuture<>();
    private final Thread thread;
    private volatile Optional<String> givenUp = Optional.empty();

    Plan(String guest, Runnable run) {
      thread = Thread.ofPlatform().name("hf-plan-" + guest).daemon().unstarted(run);
    }

    synchronized void giveUp(String why) {
      if (givenUp.isEmpty()) {
        givenUp = Optional.of(why);
        thread.interrupt();
      }
    }
  }

  /// Held during the rehearsal of a dry run: one at a time, and none that a replacement waits for.
  Lock rehearsing() {
    return rehearsing;
  }

  /// Has `look` done on a thread of its own and waits for it. When the calling thread is
  /// interrupted, the dry run is given up.
  ///
  /// @throws HyperFreshException what `look` threw; [Problem#PLAN_BUSY], [Problem#PLAN_GIVEN_UP],
  ///   [Problem#DAEMON_UPGRADING]
  List<Check> run(String guest, Callable<List<Check>> look) {
    Plan plan = begin(guest, look);
    try {
      return plan.result.get();
    } catch (InterruptedException e) {
      plan.giveUp("Its client has gone.");
      Thread.currentThread().interrupt();
      throw Problem.PLAN_GIVEN_UP.because("Its client has gone.", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof HyperFreshException known) {
        throw known;
      }
      throw Problem.unexpected(e.getCause());
    }
  }

  private synchronized Plan begin(String guest, Callable<List<Check>> look) {
    if (closed) {
      throw Problem.DAEMON_UPGRADING.because("Nothing was touched.");
    }
    if (changing.containsKey(guest)) {
      throw Problem.PLAN_BUSY.because("Guest " + guest + " is being changed.");
    }
    if (underWay.containsKey(guest)) {
      throw Problem.PLAN_BUSY.because("Another dry run of guest " + guest + " is under way.");
    }
    if (underWay.size() >= MOST) {
      throw Problem.PLAN_BUSY.because(MOST + " dry runs of other guests are under way.");
    }
    CompletableFuture<Plan> self = new CompletableFuture<>();
    Plan plan = new Plan(guest, () -> perform(guest, self.join(), look));
    self.complete(plan);
    underWay.put(guest, plan);
    plan.thread.start();
    return plan;
  }

  /// Whoever gets the result finds the guest free for the next one.
  private void perform(String guest, Plan plan, Callable<List<Check>> look) {
    Optional<List<Check>> checks = Optional.empty();
    Throwable failure = Problem.INTERNAL.because("The dry run had no end.");
    try {
      checks = Optional.of(look.call());
    } catch (Exception e) {
      failure = e;
    } finally {
      end(guest, plan);
      if (plan.givenUp.isPresent()) {
        plan.result.completeExceptionally(Problem.PLAN_GIVEN_UP.because(plan.givenUp.get()));
      } else if (checks.isPresent()) {
        plan.result.complete(checks.get());
      } else {
        plan.result.completeExceptionally(failure);
      }
    }
  }

  private synchronized void end(String guest, Plan plan) {
    underWay.remove(guest, plan);
  }

  /// Gives up the dry run of a guest that is about to be changed, without waiting for its end, and
  /// lets none begin until that is over.
  ///
  /// @return to be closed when the guest is changed no more
  synchronized Hyperplexor.Work giveWay(String guest) {
    changing.merge(guest, 1, Integer::sum);
    Plan plan = underWay.get(guest);
    if (plan != null) {
      plan.giveUp("Guest " + guest + " is being changed.");
    }
    return () -> changed(guest);
  }

  private synchronized void changed(String guest) {
    changing.computeIfPresent(guest, (_, count) -> count > 1 ? count - 1 : null);
  }

  /// Gives all up and takes no more until [#reopen]. Returns when their threads have ended.
  void close() {
    for (Plan plan : refuse()) {
      plan.giveUp("The daemon ends.");
      try {
        plan.thread.join(END_LIMIT);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private synchronized List<Plan> refuse() {
    closed = true;
    return List.copyOf(underWay.values());
  }

  /// Takes dry runs again.
  synchronized void reopen() {
    closed = false;
  }
}
