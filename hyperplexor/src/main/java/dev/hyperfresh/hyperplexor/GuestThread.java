package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;

/// The thread that does everything that changes one guest, `hf-guest-NAME`, and the mailbox in
/// front of it. Thread-safe.
final class GuestThread {
  /// Far more events than any honest hypervisor has waiting.
  private static final int MAILBOX_LIMIT = 10_000;

  private final String guest;
  private final Runnable settle;
  private final BlockingQueue<InstanceEvent> mailbox = new LinkedBlockingQueue<>();
  private final ExecutorService executor;

  /// Whether its last work is done; for the thread.
  private boolean over;

  /// Whether the thread is going to look at its mailbox anyway.
  private final AtomicBoolean settling = new AtomicBoolean();

  /// @param settle looks at the mailbox, on the thread
  GuestThread(String guest, Runnable settle) {
    this.guest = guest;
    this.settle = settle;
    this.executor =
        Executors.newSingleThreadExecutor(
            Thread.ofPlatform().name("hf-guest-" + guest).daemon().factory());
  }

  /// The events of the guest's instances that nobody has looked at yet, oldest first.
  BlockingQueue<InstanceEvent> mailbox() {
    return mailbox;
  }

  /// Runs `work` on the guest's thread and waits for it, also when the caller is interrupted: who
  /// goes on while the work does could remove what it needs. The interrupt is kept.
  ///
  /// @throws HyperFreshException what `work` threw, or [Problem#GUEST_UNKNOWN] when the guest is
  ///   gone
  <T> T call(Callable<T> work) {
    boolean interrupted = false;
    try {
      Future<T> result = executor.submit(() -> unlessOver(work));
      while (true) {
        try {
          return result.get();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } catch (RejectedExecutionException e) {
      throw gone();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof HyperFreshException known) {
        throw known;
      }
      throw Problem.unexpected(e.getCause());
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  private <T> T unlessOver(Callable<T> work) throws Exception {
    if (over) {
      throw gone();
    }
    return work.call();
  }

  private HyperFreshException gone() {
    return Problem.GUEST_UNKNOWN.because("Guest " + guest + " was deleted.");
  }

  /// As [#call], and the last: when `work` has succeeded, [#call] takes nothing any more, nor does
  /// the thread do what waits for it already.
  void last(Runnable work) {
    var _ =
        call(() -> {
          work.run();
          over = true;
          return true;
        });
    executor.shutdown();
  }

  /// A hypervisor that floods is its own guest's misfortune and not the daemon's: what comes beyond
  /// the limit is dropped, except its end.
  void post(InstanceEvent event) {
    boolean decides = event instanceof InstanceEvent.Resumed && mailbox.size() < 2 * MAILBOX_LIMIT;
    if (mailbox.size() >= MAILBOX_LIMIT && !decides && !(event instanceof InstanceEvent.Ended)) {
      return;
    }
    mailbox.add(event);
    if (!settling.compareAndSet(false, true)) {
      return;
    }
    try {
      executor.execute(this::look);
    } catch (RejectedExecutionException e) {
      // The guest is being deleted, and nobody waits for its events any more.
      mailbox.clear();
    }
  }

  private void look() {
    settling.set(false);
    settle.run();
  }
}
