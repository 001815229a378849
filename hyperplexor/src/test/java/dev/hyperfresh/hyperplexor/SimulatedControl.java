package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.SimulatedTime.MILLI;
import static dev.hyperfresh.hyperplexor.SimulatedTime.SECOND;

import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.RunState;
import java.util.ArrayDeque;
import java.util.OptionalLong;
import java.util.Queue;
import org.jspecify.annotations.Nullable;

/// A daemon's connection to one process: reports arrive in order, some time after they were made,
/// and not at all while it is lost.
final class SimulatedControl {
  private final SimulatedWorld world;
  private final SimulatedInstance process;
  private final Queue<InstanceEvent> unread = new ArrayDeque<>();
  private @Nullable SimulatedDaemon owner;
  private @Nullable InstanceEvents listener;
  private boolean lost;

  /// Whether the process waits for a guest, and its RESUME has not been heard.
  private boolean expecting;

  private boolean wantsToAnswer;

  SimulatedControl(SimulatedWorld world, SimulatedInstance process, boolean expecting) {
    this.world = world;
    this.process = process;
    this.expecting = expecting;
  }

  void attach(SimulatedDaemon daemon, InstanceEvents events) {
    owner = daemon;
    listener = events;
    unread.clear();
    lost = false;
  }

  void forget(SimulatedDaemon daemon) {
    if (owner == daemon) {
      owner = null;
      listener = null;
      unread.clear();
      wantsToAnswer = false;
    }
  }

  @Nullable SimulatedDaemon owner() {
    return owner;
  }

  boolean isLost() {
    return lost;
  }

  /// Whether nobody hears what is reported now.
  boolean isUnheard() {
    return listener == null || lost;
  }

  /// What it reported and will report is lost, until the daemon has connected again.
  void lose() {
    if (!process.alive || owner == null) {
      return;
    }
    lost = true;
    world.guest.offUnheard |= unread.stream().anyMatch(InstanceEvent.PoweredOff.class::isInstance);
    unread.clear();
    world.time.later(world.random.nextLong(3 * SECOND), this::reconnect);
  }

  private void reconnect() {
    if (!process.alive || owner == null || !lost) {
      return;
    }
    if (process.stands()) {
      world.time.later(SECOND, this::reconnect);
      return;
    }
    int generation = process.generation();
    world.trace("generation " + generation + " is connected again");
    lost = false;
    if (expecting && process.state != RunState.AWAITING) {
      expecting = false;
      tell(new InstanceEvent.Resumed(generation, OptionalLong.empty()));
    }
    if (process.state == RunState.RUNNING && process.isCancelled()) {
      tell(new InstanceEvent.HandOverFailed(generation, "the migration is failed"));
    }
    tell(new InstanceEvent.Answering(generation));
  }

  void tell(InstanceEvent event) {
    if (listener == null || (lost && !(event instanceof InstanceEvent.Ended))) {
      return;
    }
    world.trace(
        "generation " + process.generation() + " reports " + event.getClass().getSimpleName());
    unread.add(event);
    world.time.later(world.random.nextLong(3 * MILLI), this::deliverOne);
  }

  private void deliverOne() {
    InstanceEvents to = listener;
    if (!unread.isEmpty() && to != null) {
      InstanceEvent event = unread.remove();
      expecting &= !(event instanceof InstanceEvent.Resumed);
      to.on(event);
    }
  }

  void deliverAll() {
    while (!unread.isEmpty() && listener != null) {
      deliverOne();
    }
  }

  /// A question stays in the socket; its answer will come when the process goes on.
  void owe(boolean answer) {
    wantsToAnswer = answer;
  }

  /// The process goes on, and answers what it was asked.
  void answer() {
    if (wantsToAnswer && process.alive) {
      wantsToAnswer = false;
      tell(new InstanceEvent.Answering(process.generation()));
    }
  }
}
