package dev.hyperfresh.testkit;

import java.time.Duration;

/// Reads a guest's counter and its monotonic clock all the time, and remembers when one went back.
final class MonotoneWatch implements AutoCloseable {
  private final TestGuest guest;
  private final Thread thread;
  private volatile boolean done;
  private volatile String wentBack = "";

  private MonotoneWatch(TestGuest guest) {
    this.guest = guest;
    this.thread = Thread.ofPlatform().name("monotone-watch").daemon().unstarted(this::watch);
  }

  static MonotoneWatch of(TestGuest guest) {
    MonotoneWatch watch = new MonotoneWatch(guest);
    watch.thread.start();
    return watch;
  }

  private void watch() {
    long last = guest.counter();
    long lastBeat = guest.beatNanos();
    while (!done) {
      Workshop.pause(Duration.ofMillis(1));
      long next = guest.counter();
      if (next < last) {
        wentBack = "from " + last + " to " + next;
      }
      last = next;
      long beat = guest.beatNanos();
      if (beat < lastBeat) {
        wentBack = "the clock from " + lastBeat + " to " + beat;
      }
      lastBeat = beat;
    }
  }

  /// From where to where the counter or the clock went back, or empty.
  String wentBack() {
    return wentBack;
  }

  @Override
  public void close() {
    done = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
