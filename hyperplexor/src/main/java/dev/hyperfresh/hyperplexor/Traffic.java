package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;

/// Counts what is being done to guests, so that a daemon can stop taking new work and wait for the
/// rest. Thread-safe.
final class Traffic {
  private int inside;
  private boolean halted;

  /// @throws HyperFreshException [Problem#DAEMON_UPGRADING] while no new work is taken
  synchronized Hyperplexor.Work begin() {
    if (halted) {
      throw Problem.DAEMON_UPGRADING.because("Nothing was touched.");
    }
    inside++;
    return this::end;
  }

  private synchronized void end() {
    inside--;
    notifyAll();
  }

  /// Takes no new work from now on and waits for the rest.
  ///
  /// @return false when some was still there after `limit`, or when somebody else halted first;
  ///   work is taken again then, as far as this call is concerned
  synchronized boolean halt(Duration limit) {
    if (halted) {
      return false;
    }
    halted = true;
    long deadline = System.nanoTime() + limit.toNanos();
    try {
      for (long left = limit.toMillis();
          inside > 0 && left > 0;
          left = (deadline - System.nanoTime()) / 1_000_000) {
        wait(left);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    halted = inside == 0;
    return halted;
  }

  /// Takes work again.
  synchronized void goOn() {
    halted = false;
  }
}
