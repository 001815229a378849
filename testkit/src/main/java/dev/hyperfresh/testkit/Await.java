package dev.hyperfresh.testkit;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/// Waits for what nothing announces: a word in a guest's memory, a line in a file, a state in
/// `/proc`.
final class Await {
  private static final long LOOK_NANOS = 5_000_000;

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

  /// Waits until `condition` holds, and tells whether it did within `patience`.
  static boolean holdsWithin(Duration patience, BooleanSupplier condition) {
    long deadline = System.nanoTime() + patience.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > deadline) {
        return false;
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    return true;
  }
}
