package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/// Starts containers again as their [RestartPolicy] says. Everything is decided on one thread, that
/// of the [Pace]; what is seen of it may be read by any.
///
/// A container that cannot be started is tried again and again, with the same delays as one that
/// ends at once, and keeps its last end until it runs. A start that could not be tried does not
/// count for `on-failure:N`.
final class Restarts {
  private final Lives lives;
  private final Pace pace;
  private final Starter starter;

  /// The containers that wait for their next start or are being started, and why.
  private final Map<String, Next> waiting = new ConcurrentHashMap<>();

  /// What is to come.
  ///
  /// @param at when it is started
  /// @param failure why it could not be started the last time, or empty
  /// @param failures how often it could not, one after the other
  record Next(Instant at, String failure, int failures) {}

  /// Time, and the thread on which everything is decided.
  interface Pace {
    Instant now();

    /// Has `task` run on that thread after `delay`.
    void after(Duration delay, Runnable task);
  }

  /// Starts containers.
  interface Starter {
    /// Begins to start a container that has ended; does not wait.
    ///
    /// @param done gets why it could not be started, or nothing when it runs
    void start(String name, Done done);
  }

  /// Told once, on any thread.
  interface Done {
    void accept(Optional<HyperFreshException> failure);
  }

  Restarts(Lives lives, Pace pace, Starter starter) {
    this.lives = lives;
    this.pace = pace;
    this.starter = starter;
  }

  /// Looks whether a container that has ended is to be started again.
  void consider(String name) {
    pace.after(Duration.ZERO, () -> plan(name, "", 0));
  }

  private void plan(String name, String failure, int failures) {
    waiting.remove(name);
    lives
        .find(name)
        .filter(Restarts::isWanted)
        .ifPresent(life -> {
          Duration delay = RestartPolicy.delay(life.restarts() + failures);
          Next next = new Next(pace.now().plus(delay), failure, failures);
          waiting.put(name, next);
          pace.after(delay, () -> start(name, next));
        });
  }

  private static boolean isWanted(Life life) {
    return !life.isToStay(Host.bootId()) && life.wantsToRun();
  }

  private void start(String name, Next expected) {
    // Somebody else has started, stopped or removed it meanwhile, or it was planned anew.
    boolean due = expected.equals(waiting.get(name));
    if (!due || lives.find(name).filter(Restarts::isWanted).isEmpty()) {
      waiting.remove(name, expected);
      return;
    }
    lives.note(name, life -> life.again(true));
    starter.start(
        name, failure -> pace.after(Duration.ZERO, () -> started(name, expected, failure)));
  }

  private void started(String name, Next expected, Optional<HyperFreshException> failure) {
    if (failure.isPresent()) {
      // One that was tried and failed counts like one that ended at once.
      boolean tried = failure.get().problem() == Problem.CONTAINER_START;
      if (!tried) {
        lives.note(name, Life::notStarted);
      }
      plan(name, failure.get().detail(), expected.failures() + (tried ? 0 : 1));
    } else {
      waiting.remove(name, expected);
    }
  }

  /// What is to come for a container, if anything is.
  Optional<Next> next(String name) {
    return Optional.ofNullable(waiting.get(name));
  }

  /// A container is not started by this any more until [#consider].
  void forget(String name) {
    waiting.remove(name);
  }
}
