package dev.hyperfresh.hyperplexor;

import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.function.BooleanSupplier;

/// Virtual time, nanoseconds, and all that is still to happen in it. It passes only where somebody
/// waits; what is due meanwhile happens in order, on the thread of whoever waits.
final class SimulatedTime {
  static final long MICRO = 1_000;
  static final long MILLI = 1_000_000;
  static final long SECOND = 1_000_000_000;

  private record Task(long at, long order, Runnable action) {}

  private final PriorityQueue<Task> agenda =
      new PriorityQueue<>(Comparator.comparingLong(Task::at).thenComparingLong(Task::order));
  private final Runnable check;
  private long now = SECOND;
  private long order;

  /// @param check what must hold after each thing that happens
  SimulatedTime(Runnable check) {
    this.check = check;
  }

  long now() {
    return now;
  }

  long micros() {
    return now / MICRO;
  }

  void later(long nanos, Runnable action) {
    agenda.add(new Task(now + nanos, order++, action));
  }

  void advance(long nanos) {
    long until = now + nanos;
    while (isDueBy(until)) {
      runNext();
    }
    now = until;
    check.run();
  }

  /// Passes until something is `over`, at the longest until `deadline`.
  void passUntil(BooleanSupplier over, long deadline) {
    while (!over.getAsBoolean() && isDueBy(deadline)) {
      runNext();
    }
    if (!over.getAsBoolean()) {
      now = Math.max(now, deadline);
    }
  }

  private boolean isDueBy(long until) {
    return !agenda.isEmpty() && agenda.peek().at() <= until;
  }

  private void runNext() {
    Task task = agenda.remove();
    now = Math.max(now, task.at());
    task.action().run();
    check.run();
  }
}
