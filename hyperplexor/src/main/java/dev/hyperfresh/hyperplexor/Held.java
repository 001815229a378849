package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Optional;

/// What a replacement has got and must not leave behind, however it ends. Each thing is noted the
/// moment it is got and not with the next state, because a step may fail between the two; that is
/// why this changes, while the states do not. For the guest's thread.
///
/// Most of it is given back as soon as it is not needed; [#giveBack] gives back the rest. Giving
/// back what is not held does nothing.
final class Held {
  private final String id;
  private Optional<Instance> target = Optional.empty();
  private Optional<Pulse.Watch> watch = Optional.empty();
  private Optional<SwitchGate.Pass> pass = Optional.empty();
  private Optional<Surroundings.Priority> priority = Optional.empty();
  private boolean interrupted;
  private boolean steering;
  private boolean steered;

  /// @param id the replacement's, for the log
  Held(String id) {
    this.id = id;
  }

  /// The target has been started. It is the guest's from the commit on, and ended by [RollBack]
  /// before.
  void target(Instance started) {
    target = Optional.of(started);
  }

  Optional<Instance> target() {
    return target;
  }

  /// The guest's heartbeat is observed, if it has one.
  void watch(Optional<Pulse.Watch> begun) {
    watch = begun;
  }

  Optional<Pulse.Watch> watch() {
    return watch;
  }

  void closeWatch() {
    Optional<Pulse.Watch> open = watch;
    watch = Optional.empty();
    open.ifPresent(o -> Contained.run("ending the observation of " + id, o::close));
  }

  /// Waits for the guest's turn to switch; it runs meanwhile. An interrupt is kept until everything
  /// is given back: it would spoil the waits of the roll-back.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE] when it was interrupted
  void enterGate(Surroundings world) {
    try {
      pass = Optional.of(world.enterSwitch());
    } catch (InterruptedException e) {
      interrupted = true;
      throw Problem.REPLACE_PREPARE.because("It was interrupted before its turn to switch.", e);
    }
  }

  /// A place that is never left stops all other guests.
  void leaveGate() {
    pass.ifPresent(SwitchGate.Pass::leave);
  }

  /// Both hypervisors are to run first, unless that would be at other guests' cost.
  void priority(Optional<Surroundings.Priority> toRaise) {
    priority = toRaise;
  }

  void raisePriority() {
    priority.ifPresent(Surroundings.Priority::raise);
  }

  void lowerPriority() {
    Optional<Surroundings.Priority> raised = priority;
    priority = Optional.empty();
    raised.ifPresent(r -> Contained.run("lowering the priority of " + id, r::lower));
  }

  /// Packets go to the target from now on. Does nothing once it has succeeded.
  void steer(Endpoints ports) {
    if (!steered) {
      // One that fails may have done a part of it.
      steering = true;
      ports.switchOver();
      steered = true;
    }
  }

  /// Packets go to the source again, as far as [#steer] has changed that.
  void steerBack(Endpoints ports) {
    if (steering) {
      ports.switchBack();
    }
  }

  /// Gives back what is left, whatever was thrown on the way. What becomes of the target is decided
  /// by then.
  void giveBack() {
    leaveGate();
    lowerPriority();
    closeWatch();
    if (interrupted) {
      interrupted = false;
      Thread.currentThread().interrupt();
    }
  }
}
