package dev.hyperfresh.hyperplexor;

import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/// When guests are started by themselves. Thread-safe.
public interface Pace extends AutoCloseable {
  /// The time.
  Instant now();

  /// Does `task` after `delay`, unless that is closed before; tasks of one time in their order.
  void after(Duration delay, Runnable task);

  /// What has not begun is not done any more.
  @Override
  default void close() {}

  /// Real time, and `most` tasks at once, each on a thread `hf-start-N`.
  static Pace of(int most) {
    return new Timed(most);
  }

  /// See [Pace#of].
  final class Timed implements Pace {
    private static final System.Logger LOG = System.getLogger(Pace.class.getName());

    private final ScheduledThreadPoolExecutor threads;

    private Timed(int most) {
      AtomicInteger number = new AtomicInteger();
      threads =
          new ScheduledThreadPoolExecutor(
              most,
              task ->
                  Thread.ofPlatform()
                      .name("hf-start-" + number.incrementAndGet())
                      .daemon()
                      .unstarted(task));
      threads.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
    }

    @Override
    public Instant now() {
      return Instant.now();
    }

    @Override
    public void after(Duration delay, Runnable task) {
      try {
        var _ =
            threads.schedule(
                () -> Contained.run("starting a guest", task),
                delay.toNanos(),
                TimeUnit.NANOSECONDS);
      } catch (RejectedExecutionException e) {
        LOG.log(System.Logger.Level.DEBUG, "the daemon ends", e);
      }
    }

    /// A start that is under way is not interrupted.
    @Override
    public void close() {
      threads.shutdown();
    }
  }
}
