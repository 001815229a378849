package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Instance;
import java.util.List;

/// What must hold in a simulated world, whatever goes wrong in it. Each check throws an
/// `AssertionError` that names the seed.
final class SimulatedInvariants {
  private final SimulatedWorld world;

  SimulatedInvariants(SimulatedWorld world) {
    this.world = world;
  }

  void checkAlways() {
    int running = 0;
    for (SimulatedInstance process : world.processes) {
      if (process.executes()) {
        running++;
        if (process.epoch != world.guest.epoch) {
          throw world.broken(
              "generation " + process.generation() + " runs a state that is not the last");
        }
      }
    }
    if (running > 1) {
      throw world.broken("two hypervisors run the guest");
    }
  }

  /// Of a daemon that was not killed.
  void checkLife(SimulatedDaemon daemon) {
    world.requirePriorityLowered();
    if (daemon.isReplacing()) {
      throw world.broken("the guest is still being replaced");
    }
    if (daemon.isRecovering()) {
      return;
    }
    List<SimulatedInstance> living = world.living();
    if (living.size() > 1 && living.stream().noneMatch(process -> process.undead)) {
      throw world.broken(living.size() + " processes are left");
    }
    Instance instance = daemon.hosting.instance();
    if (living.isEmpty() || instance == null) {
      return;
    }
    if (!living.contains((SimulatedInstance) instance)) {
      throw world.broken("the guest's instance has ended unseen");
    }
  }

  /// When nothing has gone wrong for a while under a daemon that has just begun.
  void checkEnd(SimulatedDaemon last) {
    List<SimulatedInstance> living = world.living();
    if (living.stream().anyMatch(process -> process.hung || process.undead)) {
      // Nobody can tell what it holds; it may be the guest for ever.
      return;
    }
    if (world.guest.isOff
        && !world.guest.offUnheard
        && !world.faults.daemonWasKilled()
        && living.stream().anyMatch(SimulatedInstance::executes)) {
      throw world.broken("the guest asked to be powered off, and runs");
    }
    if (living.size() > 1) {
      throw world.broken(living.size() + " processes are left");
    }
    if (living.isEmpty()) {
      if (!world.guest.stateWasLost && !world.guest.isOff) {
        throw world.broken("the guest was lost, and no process died that alone held its state");
      }
      return;
    }
    checkLeft(last, living.getFirst());
  }

  private void checkLeft(SimulatedDaemon last, SimulatedInstance left) {
    if (last.isRecovering() || last.hosting.instance() != left) {
      throw world.broken("generation " + left.generation() + " lives and nobody has it");
    }
    boolean doubt = last.hosting.doubt().isPresent();
    boolean stale = left.epoch != world.guest.epoch;
    if (doubt && left.executes()) {
      throw world.broken("the guest runs and counts as doubtful");
    }
    if (doubt && !stale && !world.faults.logLost()) {
      throw world.broken("the guest counts as doubtful, and nobody else has run it");
    }
    if (stale && !doubt) {
      throw world.broken("generation " + left.generation() + " has an old state, and nobody knows");
    }
    if (!doubt && !left.isLive() && !left.stoppedByItself) {
      throw world.broken("generation " + left.generation() + " is left and is " + left.state);
    }
  }
}
