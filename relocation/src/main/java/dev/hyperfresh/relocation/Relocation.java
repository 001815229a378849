package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.relocation.MoveState.Clearing;
import dev.hyperfresh.relocation.MoveState.Committed;
import dev.hyperfresh.relocation.MoveState.Doubt;
import dev.hyperfresh.relocation.MoveState.Ended;
import dev.hyperfresh.relocation.MoveState.Lost;
import dev.hyperfresh.relocation.MoveState.Over;
import dev.hyperfresh.relocation.MoveState.Preparing;
import dev.hyperfresh.relocation.MoveState.Retired;
import dev.hyperfresh.relocation.MoveState.RolledBack;
import dev.hyperfresh.relocation.MoveState.Switching;
import dev.hyperfresh.relocation.MoveState.Told;
import dev.hyperfresh.relocation.MoveState.Undoing;
import dev.hyperfresh.relocation.MoveSteps.MemoryLostException;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;

/// One move of a container from one OS to another, as a transaction; [MoveState] has its states.
/// For one thread.
///
/// The old OS has the container until it is told to run in the new one; what fails before leads
/// back. While it stands still, what peers send to it waits in the new OS's hardware. Its memory
/// stays where it is, in the old OS's memory, which the new OS sees; it is fetched page by page
/// when the container runs, what it touches first.
///
/// A move that does not come off is settled, and so is one that a daemon has left unfinished: the
/// new OS is asked whether it was told to run there, and from the answer follows everything. An OS
/// that does not answer is asked again until it does or is gone; no answer is not a no, and no OS
/// is ended for it, since others may live in it.
final class Relocation {
  /// How soon is tried again what was not done.
  static final long AGAIN_NANOS = 1_000_000_000;

  private final MoveSteps steps;
  private final MoveJournal journal;
  private final LongSupplier clock;
  private final LongConsumer pause;
  private final Map<String, Double> phases = new LinkedHashMap<>();
  private volatile boolean resumed;
  private boolean doubtTold;
  private volatile MoveState state;
  private long since;

  /// @param state where the move stands
  /// @param clock nanoseconds that never go back
  /// @param pause waits so many nanoseconds
  Relocation(
      MoveSteps steps,
      MoveJournal journal,
      MoveState state,
      LongSupplier clock,
      LongConsumer pause) {
    this.steps = steps;
    this.journal = journal;
    this.state = state;
    this.clock = clock;
    this.pause = pause;
  }

  /// The daemon lets go of the operating systems: the next one decides.
  static final class LeftException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /// What each phase took, milliseconds, in the order in which they came.
  Map<String, Double> phasesMs() {
    return new LinkedHashMap<>(phases);
  }

  /// Moves the container to its end.
  ///
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE] when nothing was
  ///   touched because nothing can be written down
  /// @throws LeftException when this daemon lets go meanwhile
  Over run() {
    enter(new Preparing());
    try {
      since = clock.getAsLong();
      prepare();
      enter(new Switching(Told.NO));
      switchOver();
    } catch (RuntimeException | Error e) {
      return settle(reason(e));
    }
    return finish();
  }

  /// Brings a move to its end that a daemon has left unfinished, or that has failed.
  ///
  /// @param why it does not simply go on
  /// @throws LeftException when this daemon lets go meanwhile
  Over settle(String why) {
    while (true) {
      requireHeld();
      try {
        Optional<Over> over = decide(why);
        if (over.isPresent()) {
          return over.get();
        }
      } catch (LeftException e) {
        throw e;
      } catch (RuntimeException | Error e) {
        journal.waits(reason(e));
      }
      pause.accept(AGAIN_NANOS);
    }
  }

  private static String reason(Throwable e) {
    return String.valueOf(e.getMessage());
  }

  private void enter(MoveState next) {
    journal.write(next);
    state = next;
  }

  /// As [#enter], where nothing else can be done when it cannot be written down: the next daemon
  /// asks once more.
  private void reached(MoveState next) {
    state = next;
    try {
      journal.write(next);
    } catch (HyperFreshException e) {
      journal.waits(e.detail());
    }
  }

  private void prepare() {
    steps.connect();
    steps.plug();
    steps.prepare();
    steps.beginFreeze();
    // It reads what the freezing has written down of the output, so it comes after it.
    steps.beginRestore();
    phase("prepare");
  }

  private void switchOver() {
    long begin = clock.getAsLong();
    since = begin;
    steps.switchPort();
    phase("switch");
    steps.freeze();
    // What its processes have sent is on its way, and their kernel adds nothing.
    steps.silenceOld();
    steps.dump();
    phase("freeze");
    steps.copy();
    phase("copy");
    steps.restore();
    state = new Switching(Told.YES);
    steps.run();
    int pid = steps.awaitRunning();
    phase("restore");
    state = new Committed(pid, OptionalDouble.of((clock.getAsLong() - begin) / 1e6));
  }

  private void phase(String name) {
    long now = clock.getAsLong();
    phases.put(name, (now - since) / 1e6);
    since = now;
  }

  private void requireHeld() {
    if (steps.released()) {
      throw new LeftException();
    }
  }

  /// @return nothing when only an explicit order helps
  private Optional<Over> decide(String why) {
    return switch (state) {
      case Preparing _ -> Optional.of(decide(Told.NO, why));
      case Switching(Told told) when told == Told.UNKNOWN && steps.newEnded() -> doubt();
      case Switching(Told told) -> Optional.of(decide(told, why));
      case Undoing(String reason) -> Optional.of(undo(reason));
      case Committed _ -> Optional.of(finish());
      case Clearing(Over end) -> Optional.of(clear(end));
      case Doubt _ when steps.oldEnded() -> Optional.of(lost(why));
      case Doubt _ when resumed -> Optional.of(undo("it was resumed"));
      case Doubt _ -> doubt();
      case Over over -> Optional.of(over);
    };
  }

  private Over decide(Told told, String why) {
    if (steps.newEnded()) {
      return told == Told.NO ? undo(why) : lost(why + ", and " + steps.to() + " has ended");
    }
    steps.giveUpRestore();
    Optional<Integer> here = steps.here();
    // Where it was not told to run, an answer is of something that an earlier stay has left.
    if (told == Told.NO || here.isEmpty()) {
      return undo(why);
    }
    if (here.get() == 0) {
      return endedThere(why);
    }
    state = new Committed(here.get(), OptionalDouble.empty());
    return finish();
  }

  private Optional<Over> doubt() {
    if (steps.oldEnded()) {
      return Optional.of(lost("both operating systems have ended"));
    }
    if (!doubtTold) {
      doubtTold = true;
      reached(new Doubt());
    }
    return Optional.empty();
  }

  /// An order to go on in the old OS, where there is a doubt, from somebody who takes it on himself
  /// that the container has not run in the new one. By any thread.
  void resume() {
    resumed = true;
  }

  /// Whether it waits for [#resume]. By any thread.
  boolean isInDoubt() {
    return state instanceof Doubt;
  }

  private Over undo(String why) {
    reached(new Undoing(why));
    for (UndoStep step : UndoStep.values()) {
      until(() -> step.run(steps));
    }
    if (steps.oldEnded()) {
      return lost(why + ", and " + steps.from() + " has ended");
    }
    return over(new RolledBack(why));
  }

  private Over finish() {
    // Before the old OS loses any of its memory.
    reached(state);
    since = clock.getAsLong();
    for (FinishStep step : FinishStep.values()) {
      try {
        if (!untilOrEnded(() -> step.run(steps))) {
          return endedThere("it ended while its memory was being fetched");
        }
      } catch (MemoryLostException e) {
        // With pages that are missing it would read zeros.
        return hasEnded() ? endedThere(reason(e)) : lost(reason(e));
      }
      phase(step.name().toLowerCase(Locale.ROOT).replace('_', '-'));
      journal.done(step);
    }
    OptionalDouble frozen =
        state instanceof Committed(_, OptionalDouble millis) ? millis : OptionalDouble.empty();
    return over(new Retired(frozen));
  }

  private Over endedThere(String why) {
    // Before anything of it is removed.
    Ended end = steps.newEnded() ? Ended.unseen(why) : new Ended(why, steps.ending());
    // The answer took its time, and the next daemon may have decided.
    requireHeld();
    return clear(end);
  }

  private Over lost(String why) {
    return clear(new Lost(why));
  }

  /// Nothing of it is anywhere.
  private Over clear(Over end) {
    reached(new Clearing(end));
    until(steps::silenceNew);
    until(steps::endNew);
    until(steps::clearOld);
    until(steps::clearNew);
    until(steps::clearMove);
    until(steps::forgetFiles);
    return over(end);
  }

  private Over over(Over end) {
    reached(end);
    return end;
  }

  /// Does a step until it is done.
  private void until(Runnable step) {
    while (!done(step)) {
      pause.accept(AGAIN_NANOS);
    }
  }

  private boolean done(Runnable step) {
    requireHeld();
    try {
      step.run();
      return true;
    } catch (MemoryLostException e) {
      throw e;
    } catch (RuntimeException | Error e) {
      // An error of the virtual machine is no reason to leave a container where it is.
      requireHeld();
      journal.waits(reason(e));
      return false;
    }
  }

  /// As [#until].
  ///
  /// @return false when the container is known to have ended instead
  private boolean untilOrEnded(Runnable step) {
    while (!done(step)) {
      if (hasEnded()) {
        return false;
      }
      pause.accept(AGAIN_NANOS);
    }
    return true;
  }

  private boolean hasEnded() {
    try {
      return steps.newEnded() || steps.here().filter(pid -> pid > 0).isEmpty();
    } catch (RuntimeException | Error e) {
      journal.waits(reason(e));
      return false;
    }
  }
}
