package dev.hyperfresh.linux;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/// A process that waits for all others for a while, so that what it does first costs nobody else.
/// It gets back what it had when that is closed, or after a limit: on a host whose cores are all
/// busy it would never come to an end otherwise. Thread-safe.
///
/// Does nothing where this process could not give it back.
public final class Background implements AutoCloseable {
  /// The name of a system property that leaves processes what they have when it is `false`, so that
  /// what the background is worth can be measured.
  public static final String SWITCH = "hyperfresh.background";

  private final int pid;
  private final Optional<CpuPriority> before;
  private final CountDownLatch closed = new CountDownLatch(1);
  private boolean over;

  private Background(int pid, Optional<CpuPriority> before) {
    this.pid = pid;
    this.before = before;
  }

  /// Begins with a process that has just been started; its number must stay its own until the end.
  ///
  /// @param limit after which it ends by itself
  public static Background of(int pid, Duration limit) {
    boolean wanted = !"false".equals(System.getProperty(SWITCH)) && CpuPriority.mayRaise();
    Background background = new Background(pid, wanted ? CpuPriority.of(pid) : Optional.empty());
    if (background.before.isPresent()) {
      CpuPriority.background(pid);
      Thread.ofVirtual().name("hf-background").start(() -> background.endAfter(limit));
    }
    return background;
  }

  private void endAfter(Duration limit) {
    try {
      var _ = closed.await(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    end();
  }

  private synchronized void end() {
    if (!over) {
      over = true;
      before.ifPresent(priority -> priority.giveTo(pid));
    }
  }

  /// Gives the process back what it had, unless that was done before.
  @Override
  public void close() {
    closed.countDown();
    end();
  }
}
