package dev.hyperfresh.relocation;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// Has work done that an OS has to do, some of it at once and the rest in its order, so that one OS
/// with too much to do holds up no other. Thread-safe.
final class Turns {
  private final int most;
  private final Apart apart;
  private final Map<String, Lane> lanes = new HashMap<>();

  /// Has work done on a thread of its own, and does not wait.
  interface Apart {
    /// Begins with the work for one container.
    void begin(String name, Runnable work);
  }

  /// What one OS has to do.
  private static final class Lane {
    private final Deque<Runnable> waiting = new ArrayDeque<>();
    private int busy;
  }

  /// @param most how much of the work in an OS is done at once
  Turns(int most, Apart apart) {
    this.most = most;
    this.apart = apart;
  }

  /// Has `work` for container `name` done in `os` when its turn has come. Does not wait.
  void take(String os, String name, Runnable work) {
    Runnable turn = () -> apart.begin(name, () -> work(os, work));
    if (isNow(os, turn)) {
      turn.run();
    }
  }

  private synchronized boolean isNow(String os, Runnable turn) {
    Lane lane = lanes.computeIfAbsent(os, _ -> new Lane());
    if (lane.busy >= most) {
      lane.waiting.add(turn);
      return false;
    }
    lane.busy++;
    return true;
  }

  private void work(String os, Runnable work) {
    try {
      work.run();
    } finally {
      next(os).ifPresent(Runnable::run);
    }
  }

  private synchronized Optional<Runnable> next(String os) {
    Lane lane = lanes.computeIfAbsent(os, _ -> new Lane());
    Optional<Runnable> next = Optional.ofNullable(lane.waiting.poll());
    if (next.isEmpty() && --lane.busy == 0) {
      lanes.remove(os);
    }
    return next;
  }
}
