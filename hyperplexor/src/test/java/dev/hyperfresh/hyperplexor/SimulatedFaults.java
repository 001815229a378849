package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// What goes wrong in one world, and when: up to two faults, each at a step that the seed chose. A
/// fault that waits for the next call, or lasts, is remembered here until it has come to pass.
final class SimulatedFaults {
  /// What goes wrong.
  enum Fault {
    SOURCE_KILLED,
    SOURCE_HANGS,
    SOURCE_HANGS_FOR_A_WHILE,
    TARGET_KILLED,
    TARGET_HANGS,
    TARGET_HANGS_FOR_A_WHILE,
    /// It cannot be stopped, and dies long after it was killed.
    TARGET_DOES_NOT_DIE,
    TARGET_REFUSES,
    TARGET_IS_SLOW,
    CHANNEL_CUT,
    SOURCE_CONTROL_LOST,
    TARGET_CONTROL_LOST,
    CALL_FAILS,
    CALL_THROWS_ERROR,
    ANSWER_LOST,
    FREEZE_FAILS,
    /// Nothing tells any more whether an instance has run the guest.
    LOG_LOST,
    DISK_FULL,
    DISK_FULL_FOR_A_WHILE,
    DAEMON_KILLED,
    GUEST_POWERS_OFF,
    GUEST_RESETS,
    GUEST_SLEEPS,
    GUEST_STOPS_FOR_ITS_DISK
  }

  /// The daemon's process ends here: nothing of it runs any more.
  static final class DaemonKilled extends Error {
    private static final long serialVersionUID = 1;

    DaemonKilled() {
      super("the daemon is killed", null, false, false);
    }
  }

  private record Planned(Fault fault, int step) {}

  private static final int FIRST_STEPS = 40;

  private final SimulatedWorld world;
  private final List<Planned> planned = new ArrayList<>();
  private final List<String> happened = new ArrayList<>();
  private int step;
  private boolean over;
  private boolean callFails;
  private boolean errorThrown;
  private boolean answerLost;
  private boolean freezeFails;
  private boolean logLost;
  private boolean diskFull;
  private boolean targetRefuses;
  private boolean targetIsSlow;
  private boolean daemonWasKilled;

  SimulatedFaults(SimulatedWorld world) {
    this.world = world;
    int luck = world.random.nextInt(10);
    int count = luck < 1 ? 0 : luck < 7 ? 1 : 2;
    for (int i = 0; i < count; i++) {
      Fault fault = Fault.values()[world.random.nextInt(Fault.values().length)];
      planned.add(new Planned(fault, 1 + world.random.nextInt(FIRST_STEPS)));
      targetRefuses |= fault == Fault.TARGET_REFUSES;
      targetIsSlow |= fault == Fault.TARGET_IS_SLOW;
    }
  }

  /// Nothing goes wrong any more, and what went wrong for a while is over.
  void end() {
    over = true;
    callFails = false;
    errorThrown = false;
    answerLost = false;
    freezeFails = false;
    diskFull = false;
  }

  /// A step of a daemon: the chosen faults may happen before it.
  void step() {
    if (over) {
      return;
    }
    step++;
    for (Planned next : planned) {
      if (next.step() == step) {
        strike(next.fault());
      }
    }
  }

  private void strike(Fault fault) {
    happened.add(fault + " " + world.disk.lastState());
    world.trace("FAULT " + fault);
    SimulatedInstance last = world.processes.getLast();
    SimulatedInstance source =
        world.processes.size() > 1 && last.state == RunState.AWAITING
            ? world.processes.get(world.processes.size() - 2)
            : world.processes.get(Math.max(0, world.processes.size() - 2));
    Optional<SimulatedInstance> target = last == source ? Optional.empty() : Optional.of(last);
    switch (fault) {
      case TARGET_REFUSES, TARGET_IS_SLOW -> {}
      case SOURCE_KILLED -> source.die("killed");
      case SOURCE_HANGS -> source.hang();
      case SOURCE_HANGS_FOR_A_WHILE -> source.hangFor(forAWhile(4));
      case TARGET_KILLED -> target.ifPresent(t -> t.die("killed"));
      case TARGET_HANGS -> target.ifPresent(SimulatedInstance::hang);
      case TARGET_HANGS_FOR_A_WHILE -> target.ifPresent(t -> t.hangFor(forAWhile(4)));
      case TARGET_DOES_NOT_DIE -> target.ifPresent(SimulatedInstance::becomeUndead);
      case CHANNEL_CUT -> source.cutChannel();
      case SOURCE_CONTROL_LOST -> source.control.lose();
      case TARGET_CONTROL_LOST -> target.ifPresent(t -> t.control.lose());
      case CALL_FAILS -> callFails = true;
      case CALL_THROWS_ERROR -> errorThrown = true;
      case ANSWER_LOST -> answerLost = true;
      case FREEZE_FAILS -> freezeFails = true;
      case LOG_LOST -> logLost = true;
      case DISK_FULL -> diskFull = true;
      case DISK_FULL_FOR_A_WHILE -> {
        diskFull = true;
        world.time.later(forAWhile(3), () -> diskFull = false);
      }
      case DAEMON_KILLED -> {
        daemonWasKilled = true;
        throw new DaemonKilled();
      }
      case GUEST_POWERS_OFF -> world.processes.forEach(SimulatedInstance::powerOffByItself);
      case GUEST_RESETS -> world.processes.forEach(SimulatedInstance::resetByItself);
      case GUEST_SLEEPS -> world.processes.forEach(SimulatedInstance::sleepByItself);
      case GUEST_STOPS_FOR_ITS_DISK -> world.processes.forEach(SimulatedInstance::stopForItsDisk);
    }
    world.invariants.checkAlways();
  }

  private long forAWhile(int mostSeconds) {
    return world.random.nextLong(mostSeconds * SimulatedTime.SECOND);
  }

  /// Fails the next call, once.
  ///
  /// @throws HyperFreshException as `problem`
  void failCall(Problem problem, String why) {
    if (callFails) {
      callFails = false;
      throw problem.because(why);
    }
  }

  /// Throws an error of the virtual machine out of the next call, once.
  void throwError() {
    if (errorThrown) {
      errorThrown = false;
      throw new NoClassDefFoundError("simulated");
    }
  }

  /// Whether the next answer, or the order itself, does not arrive; once.
  boolean takeAnswerLost() {
    boolean lost = answerLost;
    answerLost = false;
    return lost;
  }

  /// Fails whatever writes to the disk, while that is full.
  void failWrite() {
    if (diskFull) {
      throw Problem.DAEMON_STATE.because("No space left on device.");
    }
  }

  boolean freezeFails() {
    return freezeFails;
  }

  boolean logLost() {
    return logLost;
  }

  boolean targetRefuses() {
    return targetRefuses;
  }

  boolean targetIsSlow() {
    return targetIsSlow;
  }

  boolean daemonWasKilled() {
    return daemonWasKilled;
  }

  /// Every fault that came, with the state of the replacement in which it did.
  List<String> happened() {
    return happened;
  }

  @Override
  public String toString() {
    return planned.toString();
  }
}
