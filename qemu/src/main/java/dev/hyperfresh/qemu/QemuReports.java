package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.RunState;
import java.time.Duration;
import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/// What one QEMU reports of its guest and of a hand-over, told on as events of its instance, in the
/// order in which it reports. What was reported while nobody heard it is made up for by [#catchUp].
///
/// [#heard] and [#catchUp] are called on the thread that reads the control channel, the rest on the
/// one that calls the instance.
final class QemuReports {
  /// How long a change is waited for that no event may tell of.
  private static final long CHANGE_MILLIS = 5;

  private final int generation;
  private final InstanceEvents events;
  private final QemuProcess process;

  /// Counts events, and is notified of each.
  private final AtomicInteger changes = new AtomicInteger();

  private volatile CountDownLatch handOverOver = new CountDownLatch(1);
  private volatile boolean source;

  /// Whether a guest's state is awaited that has not been seen to run.
  private volatile boolean expecting;

  /// @param process whose clock the reports go by
  QemuReports(int generation, InstanceEvents events, QemuProcess process) {
    this.generation = generation;
    this.events = events;
    this.process = process;
  }

  /// From now on it awaits a guest's state.
  void expectGuest() {
    expecting = true;
  }

  /// From now on its hand-over is one that it sends.
  void becomeSource() {
    source = true;
    handOverOver = new CountDownLatch(1);
  }

  /// Takes note of what its vCPUs were asked to do.
  void saw(RunState state) {
    // One that an earlier daemon had made wait.
    expecting |= state == RunState.AWAITING;
  }

  /// Whether the hand-over ends within `limit`.
  boolean awaitHandOverOver(Duration limit) throws InterruptedException {
    return handOverOver.await(limit.toMillis(), TimeUnit.MILLISECONDS);
  }

  /// How many events there were.
  int count() {
    return changes.get();
  }

  /// Waits for an event that came after `seen` of them, for a little while at most.
  void awaitChange(int seen) {
    synchronized (changes) {
      if (changes.get() == seen) {
        try {
          changes.wait(CHANGE_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
      }
    }
  }

  /// An event of QEMU.
  void heard(QmpMessage.Event event) {
    tell(event);
    synchronized (changes) {
      changes.incrementAndGet();
      changes.notifyAll();
    }
  }

  private void tell(QmpMessage.Event event) {
    switch (event.name()) {
      case "STOP" -> events.on(new InstanceEvent.Stopped(generation, at(event)));
      case "RESUME" -> {
        expecting = false;
        events.on(new InstanceEvent.Resumed(generation, at(event)));
      }
      case "MIGRATION" -> migration(event);
      case "SHUTDOWN" -> shutdown(event);
      case "RESET" -> events.on(new InstanceEvent.Reset(generation));
      case "SUSPEND", "WAKEUP", "WATCHDOG", "GUEST_PANICKED" ->
          events.on(new InstanceEvent.Changed(generation));
      default -> {}
    }
  }

  /// A QEMU that was told not to reset its guest ends instead, whoever asked for the reset: to a
  /// move that is under way, the guest is off then.
  private void shutdown(QmpMessage.Event event) {
    if (event.data().path("reason").asString("").endsWith("-reset")) {
      events.on(new InstanceEvent.Reset(generation));
    }
    if (event.data().path("guest").asBoolean(false)) {
      events.on(new InstanceEvent.PoweredOff(generation));
    }
  }

  private long at(QmpMessage.Event event) {
    return process.hostMicros(event.atMicros());
  }

  private void migration(QmpMessage.Event event) {
    switch (event.data().path("status").asString("")) {
      case "completed" -> {
        handOverOver.countDown();
        if (source) {
          events.on(new InstanceEvent.HandOverSent(generation, at(event)));
        }
      }
      case "failed" -> {
        handOverOver.countDown();
        failed("the migration failed");
      }
      case "cancelled" -> handOverOver.countDown();
      default -> {}
    }
  }

  /// Tells what has come about unheard.
  ///
  /// @param state of the vCPUs now, which [#saw] knows already
  /// @param migration as [Migration#status]
  void catchUp(RunState state, String migration) {
    // Whoever does not wait for a guest's state any more has it and ran it, whatever it does now.
    if (expecting && state != RunState.AWAITING) {
      expecting = false;
      events.on(new InstanceEvent.Resumed(generation, OptionalLong.empty()));
    }
    if (!Migration.UNDER_WAY.contains(migration)) {
      handOverOver.countDown();
    }
    if (source && List.of("failed", "cancelled").contains(migration)) {
      failed("the migration is " + migration);
    }
  }

  /// The hand-over has failed.
  void failed(String reason) {
    events.on(new InstanceEvent.HandOverFailed(generation, reason));
  }

  /// QEMU answers again.
  void answering() {
    events.on(new InstanceEvent.Answering(generation));
  }

  /// The process has ended.
  void ended(String reason) {
    events.on(new InstanceEvent.Ended(generation, reason));
  }
}
