package dev.hyperfresh.testkit;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/// Waits for what nothing announces: a word in a guest's memory, a line in a file, a state in
/// `/proc`.
final class Await {
  private static final long LOOK_NANOS = 5_000_000;

  /// For what takes seconds, and whose question costs more than a look.
  private static final long SELDOM_NANOS = 50_000_000;

  private Await() {}

  /// Waits until `condition` holds.
  ///
  /// @param what is missing, for a person
  /// @throws IllegalStateException when it does not hold within `patience`
  static void until(String what, Duration patience, BooleanSupplier condition) {
    if (!holdsWithin(patience, condition)) {
      throw new IllegalStateException(
          "no sign of " + what + " within " + patience.toMillis() + " ms");
    }
  }

  /// Waits for the first answer that is there, asking 20 times a second.
  ///
  /// @return empty when there is none within `patience`
  static <T> Optional<T> firstWithin(Duration patience, Supplier<Optional<T>> question) {
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      Optional<T> answer = question.get();
      if (answer.isPresent() || isOver(deadline)) {
        return answer;
      }
      LockSupport.parkNanos(SELDOM_NANOS);
    }
  }

  /// Waits until the list that `look` makes is empty.
  ///
  /// @return the list that was seen last: whoever looks once more may see what has begun since
  static <T> List<T> emptyWithin(Duration patience, Supplier<List<T>> look) {
    long deadline = System.nanoTime() + patience.toNanos();
    while (true) {
      List<T> seen = look.get();
      if (seen.isEmpty() || isOver(deadline)) {
        return seen;
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
  }

  /// Rests, so that what went before does not disturb what comes.
  static void pause(Duration duration) {
    LockSupport.parkNanos(duration.toNanos());
  }

  /// A thread that is interrupted waits no longer either.
  private static boolean isOver(long deadline) {
    return System.nanoTime() > deadline || Thread.currentThread().isInterrupted();
  }

  /// Waits until `condition` holds, and tells whether it did within `patience`.
  static boolean holdsWithin(Duration patience, BooleanSupplier condition) {
    long deadline = System.nanoTime() + patience.toNanos();
    while (!condition.getAsBoolean()) {
      if (isOver(deadline)) {
        return false;
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    return true;
  }
}
