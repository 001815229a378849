package dev.hyperfresh.relocation;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;

/// Two operating systems, this host and the container that moves between them, in virtual time; and
/// what must hold in it. For one thread.
final class SimulatedWorld {
  /// What is wrong on purpose, to see that it is noticed.
  enum Defect {
    NONE,
    /// CRIU lets the container run before it is told to.
    RUNS_UNTOLD,
    /// The new OS does not know what it has.
    SAYS_NOT_HERE,
    /// The old OS lets it go on by itself when the daemon dies.
    THAWS_UNTOLD
  }

  private static final long MOST_NANOS = 600_000_000_000L;

  final Defect defect;
  final SplittableRandom random;
  final List<String> trace = new ArrayList<>();

  /// The states in which the move was.
  final Set<Class<?>> states = new HashSet<>();

  final SimulatedOs.Old old;
  final SimulatedOs.Fresh fresh = new SimulatedOs.Fresh();
  long now;

  // This host.
  boolean toNew;
  boolean images;
  Optional<MoveState> written = Optional.empty();
  boolean diskFull;

  // What is to come.
  boolean restoreFails;
  boolean pageLost;

  // What has happened.
  boolean said;
  boolean endedItself;
  boolean everKilled;

  /// Whether somebody has ordered that it goes on in spite of a doubt.
  boolean takenOn;

  SimulatedWorld(SplittableRandom random, Defect defect) {
    this.random = random;
    this.defect = defect;
    old = new SimulatedOs.Old(defect == Defect.THAWS_UNTOLD);
    // Of an earlier stay there, which could not be cleared up.
    fresh.ran = random.nextInt(8) == 0;
  }

  /// The container ends by itself, if it runs.
  void ends() {
    if (old.inside && !old.stands) {
      endedItself = true;
      old.inside = false;
    } else if (fresh.inside && !fresh.held) {
      endedItself = true;
      fresh.inside = false;
    }
  }

  /// The daemon is gone: whoever waits for a word of it hears a no.
  void hangUp() {
    everKilled = true;
    old.hangUp();
    if (fresh.waits()) {
      // What it has said may still be on its way.
      if (!(fresh.word && random.nextBoolean())) {
        fresh.hearNo();
      } else {
        fresh.hearRun();
      }
    }
    check();
  }

  /// What must never be was; passes through all that catches what a program throws.
  static final class Violation extends Exception {
    private static final long serialVersionUID = 1;

    Violation(String what) {
      super(what);
    }
  }

  @SuppressWarnings("unchecked")
  static <T extends Throwable> RuntimeException sneaky(Throwable thrown) throws T {
    throw (T) thrown;
  }

  static void require(boolean holds, String what) {
    if (!holds) {
      throw sneaky(new Violation(what));
    }
  }

  /// What holds at every moment.
  void check() {
    fresh.everRan |= fresh.runsIt();
    require(!(old.runsIt() && fresh.runsIt()), "it runs twice");
    require(
        !(old.runsIt() && fresh.everRan) || takenOn,
        "it goes on in the old OS after it ran in the new one");
    require(now < MOST_NANOS, "it does not end");
  }

  /// What holds at the end of the move: the container is where the daemon believes, and nothing
  /// else is left.
  void judge(MoveState.Over over) {
    trace.add("over: " + over);
    check();
    switch (over) {
      case MoveState.RolledBack _ -> judgeOld();
      case MoveState.Retired _ -> judgeFresh();
      case MoveState.Ended _ -> require(fresh.everRan || !fresh.lives, "ended where it never ran");
      case MoveState.Lost _ ->
          require(
              !old.lives || fresh.everRan || (!fresh.lives && (said || everKilled)) || pageLost,
              "lost, and the old OS has it");
    }
    require(
        !fresh.lives || (!fresh.window && !fresh.port),
        "something of the move is left in the new OS");
    require(!old.lives || !old.port, "something of the move is left in the old OS");
    require(!images, "files are left");
  }

  private void judgeOld() {
    // Whoever finds it rolled back looks whether it is there.
    boolean gone = takenOn && !old.hasIt;
    require(old.runsIt() || endedItself || gone || !old.lives, "rolled back, and it does not run");
    require(!old.silent || !old.lives, "it cannot be heard");
    require(!toNew, "its packets go elsewhere");
    require(
        !fresh.lives || (!fresh.hasIt && !fresh.inside), "something of it is left in the new OS");
  }

  private void judgeFresh() {
    require(fresh.runsIt() || endedItself || !fresh.lives, "retired, and it does not run");
    require(fresh.drained || endedItself || !fresh.lives, "memory is missing");
    require(!old.lives || !old.hasIt, "something of it is left in the old OS");
  }
}
