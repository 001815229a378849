package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.relocation.SimulatedWorld.Defect;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;

/// One move of a container between two operating systems that are simulated, through the lives of
/// several daemons, with virtual time and faults from a seed. [Relocation] runs unchanged in it.
///
/// After every step it is looked whether the container runs at most once, and never in the old OS
/// after it has run in the new one; at the end, whether it is where the daemon believes, and
/// whether anything is left behind ([SimulatedWorld]).
final class SimulatedMove {
  private final SimulatedWorld world;
  private final SimulatedFaults faults;

  SimulatedMove(long seed, int faults, Defect defect) {
    SplittableRandom random = new SplittableRandom(seed);
    this.world = new SimulatedWorld(random, defect);
    this.faults = new SimulatedFaults(random, faults);
  }

  /// The states in which it was.
  Set<Class<?>> states() {
    return world.states;
  }

  /// What happened, for whoever looks into a seed.
  List<String> trace() {
    return world.trace;
  }

  /// Lives of daemons until the move is over.
  void run() {
    Optional<MoveState.Over> over = Optional.empty();
    for (int life = 0; over.isEmpty(); life++) {
      over = live(life);
    }
    world.judge(over.get());
  }

  private Optional<MoveState.Over> live(int life) {
    SimulatedDaemon daemon = new SimulatedDaemon(world, faults, life == 0);
    world.trace.add("daemon " + life);
    try {
      if (life == 0) {
        return Optional.of(daemon.relocation().run());
      }
      if (world.written.isEmpty() || world.written.get() instanceof MoveState.Over) {
        // It finds the container as any other, and clears both.
        return Optional.of(found());
      }
      return Optional.of(daemon.relocation().settle("found"));
    } catch (HyperFreshException e) {
      SimulatedWorld.require(
          world.written.isEmpty() && world.old.hasIt, "refused when it had begun");
      return Optional.of(new MoveState.RolledBack("refused"));
    } catch (Relocation.LeftException e) {
      world.hangUp();
      return Optional.empty();
    } catch (Throwable e) {
      if (!(e instanceof SimulatedDaemon.Killed)) {
        throw e;
      }
      world.hangUp();
      return Optional.empty();
    }
  }

  private MoveState.Over found() {
    return world.written.isPresent()
        ? (MoveState.Over) world.written.get()
        : new MoveState.RolledBack("not begun");
  }
}
