package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.RunState;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/// Asks a guest to power itself off. For the guest's thread.
///
/// @param mailbox where the end of its instance is reported
/// @param heard takes note of what else is reported meanwhile and matters
record PowerOff(
    String guest,
    Instance current,
    BlockingQueue<InstanceEvent> mailbox,
    Consumer<List<InstanceEvent>> heard) {
  private static final Duration MAX_PATIENCE = Duration.ofDays(1);

  /// Returns when the guest's instance has ended, when the guest cannot hear, or after `patience`.
  void within(Duration patience) {
    if (asked()) {
      awaitEnd(patience);
    }
  }

  /// Whether the guest was asked to power off and can hear it.
  private boolean asked() {
    return Contained.get(
        "asking " + guest + " to power off",
        () -> {
          RunState.Stop how = current.runState().stop();
          if (how == RunState.Stop.WAKE_AND_ASK) {
            current.wake();
          }
          if (how != RunState.Stop.END) {
            current.powerOff();
          }
          return how != RunState.Stop.END;
        },
        false);
  }

  private void awaitEnd(Duration patience) {
    long nanos = patience.compareTo(MAX_PATIENCE) < 0 ? patience.toNanos() : MAX_PATIENCE.toNanos();
    long deadline = System.nanoTime() + nanos;
    try {
      InstanceEvent event;
      do {
        event = mailbox.poll(Math.max(0, deadline - System.nanoTime()), TimeUnit.NANOSECONDS);
        if (event instanceof InstanceEvent.Ended && event.generation() != current.generation()) {
          heard.accept(List.of(event));
        }
      } while (event != null
          && !(event instanceof InstanceEvent.Ended && event.generation() == current.generation()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
