package dev.hyperfresh.daemon;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/// Counts how many of one thing each user has at a time, so that none takes what all share.
/// Thread-safe.
final class UserQuota {
  private final Map<Integer, Integer> taken = new HashMap<>();

  /// One of the things that a user has, until it is closed.
  interface Share extends AutoCloseable {
    /// Gives it back. Does nothing the second time.
    @Override
    void close();
  }

  /// One more for a user.
  ///
  /// @param most how many the user may have; it need not be the same each time
  /// @return empty when the user has as many already
  synchronized Optional<Share> take(int uid, int most) {
    int has = taken.getOrDefault(uid, 0);
    if (has >= most) {
      return Optional.empty();
    }
    taken.put(uid, has + 1);
    AtomicBoolean closed = new AtomicBoolean();
    return Optional.of(() -> {
      if (closed.compareAndSet(false, true)) {
        giveBack(uid);
      }
    });
  }

  private synchronized void giveBack(int uid) {
    taken.computeIfPresent(uid, (_, count) -> count > 1 ? count - 1 : null);
  }
}
