package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.qemu.QemuProcess;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// Takes back what an earlier daemon left: each thing on a thread of its own, tried again until it
/// is done. Things are known by what they are called in sentences, such as `OS web`. Thread-safe.
public final class TakingBack implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(TakingBack.class.getName());

  /// How soon is tried again what did not come off.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private final Consumer<String> told;

  /// Why each is not taken back yet.
  private final Map<String, String> waiting = new ConcurrentHashMap<>();

  /// Each is open when nothing is to be waited for any more.
  private final Map<String, CountDownLatch> firsts = new ConcurrentHashMap<>();

  private final CountDownLatch closed = new CountDownLatch(1);

  /// @param told one sentence for each, and more when it changes; called by several threads
  public TakingBack(Consumer<String> told) {
    this.told = told;
  }

  /// What is done again until it does not throw.
  @FunctionalInterface
  public interface Attempt {
    /// Takes it back, or finds that it is gone.
    ///
    /// @throws HyperFreshException as [TroubleException] and [LinuxException], with why not yet
    void run();
  }

  /// Does `attempt` until it is done.
  ///
  /// @param thread the name of its thread
  public void begin(String what, String thread, Attempt attempt) {
    CountDownLatch first = firsts.computeIfAbsent(what, _ -> new CountDownLatch(1));
    waiting.put(what, "it has not been asked yet");
    Thread.ofPlatform()
        .name(thread)
        .daemon()
        .start(() -> {
          try {
            repeat(what, attempt);
          } finally {
            first.countDown();
          }
        });
  }

  private void repeat(String what, Attempt attempt) {
    boolean over = isClosed();
    while (!over) {
      try {
        attempt.run();
        waiting.remove(what);
        return;
      } catch (CancellationException e) {
        return;
      } catch (HyperFreshException e) {
        waits(what, e.detail());
      } catch (QemuProcess.TroubleException | LinuxException | ClosedException e) {
        waits(what, String.valueOf(e.getMessage()));
      } catch (RuntimeException e) {
        // A defect must not leave it waiting without a word.
        LOG.log(System.Logger.Level.ERROR, what + " is not reattached", e);
        waits(what, e.toString());
      }
      over = isClosedWithin(AGAIN);
    }
  }

  /// Waits for the end, for a little while at most. A thread that is interrupted tries no more.
  private boolean isClosedWithin(Duration limit) {
    try {
      return closed.await(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  private boolean isClosed() {
    return closed.getCount() == 0;
  }

  /// It is left alone: what is written of it cannot be understood.
  public void leave(String what, String why) {
    waiting.put(what, why);
    say(what + " cannot be reattached: " + why);
  }

  /// It is not taken back yet; told when the reason is another one.
  public void waits(String what, String why) {
    if (!isClosed() && !why.equals(waiting.put(what, why))) {
      told.accept(what + " is not reattached yet: " + why);
    }
  }

  /// It has been taken back before its attempt is over.
  public void taken(String what) {
    waiting.remove(what);
  }

  /// Nobody is to wait for it any more, though it is not taken back.
  public void goOnWithout(String what) {
    firsts.computeIfAbsent(what, _ -> new CountDownLatch(1)).countDown();
  }

  /// Tells a sentence.
  public void say(String sentence) {
    told.accept(sentence);
  }

  /// Why something is not taken back yet; empty when it is, or there is no such thing.
  public String why(String what) {
    return waiting.getOrDefault(what, "");
  }

  /// Returns when all that was begun is done, or after `patience`.
  public void await(Duration patience) {
    long deadline = System.nanoTime() + patience.toNanos();
    try {
      for (CountDownLatch first : firsts.values()) {
        var _ = first.await(deadline - System.nanoTime(), TimeUnit.NANOSECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// What has not been taken back is left as it is.
  @Override
  public void close() {
    closed.countDown();
  }
}
