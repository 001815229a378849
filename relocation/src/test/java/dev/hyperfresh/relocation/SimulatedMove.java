package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.relocation.RelocationRecord.Drain;
import dev.hyperfresh.vm.TroubleException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;

/// One move of a container between two operating systems that are simulated, through the lives of
/// several daemons, with virtual time and faults from a seed. [Relocation] runs unchanged in it.
///
/// After every step it is looked whether the container runs at most once, and never in the old OS
/// after it has run in the new one; at the end, whether it is where the daemon believes, and
/// whether anything is left behind.
final class SimulatedMove {
  /// What happens beside what is asked for.
  enum Fault {
    /// A step is not done, and fails.
    REFUSED,
    /// A step is done, and seems to fail.
    UNHEARD,
    /// A step fails for want of memory in the daemon.
    NO_MEMORY,
    /// The daemon is killed before a step, or after it.
    KILLED,
    KILLED_AFTER,
    /// The daemon ends, and lets go of everything.
    LET_GO,
    /// An OS is gone.
    OLD_DIES,
    NEW_DIES,
    /// An OS says nothing for a while.
    OLD_HANGS,
    NEW_HANGS,
    /// CRIU does not put the container together.
    NO_RESTORE,
    /// The container ends by itself, wherever it runs.
    ENDS,
    /// A page of it cannot be fetched.
    PAGE_LOST,
    /// What is to be written down cannot be.
    DISK_FULL
  }

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

  /// Where the program that freezes stands.
  private enum Freezing {
    NONE,
    READY,
    STANDING,
    DUMPED
  }

  /// Where the program that restores stands.
  private enum Restoring {
    NONE,
    READY,
    RESTORED,
    ENDED
  }

  private static final List<Fault> FAULTS = List.of(Fault.values());
  private static final long HANG_NANOS = 45_000_000_000L;
  private static final long STEP_NANOS = 1_000_000;
  private static final long MOST_NANOS = 600_000_000_000L;

  private final Defect defect;
  private final SplittableRandom random;
  private final List<String> trace = new ArrayList<>();
  private final Set<Class<?>> states = new HashSet<>();
  private int faultsLeft;
  private long now;

  // The old OS.
  private boolean oldLives = true;
  private long oldHangsUntil;
  private boolean inOld = true;
  private boolean standsInOld;
  private boolean silentInOld;
  private Freezing freezing = Freezing.NONE;
  private boolean freezePort;
  private boolean oldHasIt = true;

  // The new OS.
  private boolean newLives = true;
  private long newHangsUntil;
  private boolean window;
  private boolean newHasIt;
  private boolean restorePort;
  private Restoring restoring = Restoring.NONE;
  private boolean said;
  private boolean word;
  private boolean ran;
  private boolean inNew;
  private boolean held;
  private boolean restoreFails;
  private boolean pageLost;
  private boolean adopted;
  private boolean drained;

  // This host.
  private boolean toNew;
  private boolean images;
  private Optional<MoveState> written = Optional.empty();
  private boolean diskFull;

  private boolean everRanInNew;
  private boolean endedItself;
  private boolean everKilled;

  /// Whether somebody has ordered that it goes on in spite of a doubt.
  private boolean takenOn;

  SimulatedMove(long seed, int faults, Defect defect) {
    this.defect = defect;
    random = new SplittableRandom(seed);
    // Of an earlier stay there, which could not be cleared up.
    ran = random.nextInt(8) == 0;
    faultsLeft = faults;
  }

  /// The states in which it was.
  Set<Class<?>> states() {
    return states;
  }

  /// What happened, for whoever looks into a seed.
  List<String> trace() {
    return trace;
  }

  /// The daemon is killed: passes through all that catches what a program throws.
  private static final class Killed extends Exception {
    private static final long serialVersionUID = 1;
  }

  @SuppressWarnings("unchecked")
  private static <T extends Throwable> RuntimeException sneaky(Throwable thrown) throws T {
    throw (T) thrown;
  }

  private static TroubleException trouble(String why) {
    return new TroubleException(why);
  }

  /// Lives of daemons until the move is over.
  void run() {
    Optional<MoveState.Over> over = Optional.empty();
    for (int life = 0; over.isEmpty(); life++) {
      over = live(life);
    }
    judge(over.get());
  }

  private Optional<MoveState.Over> live(int life) {
    Daemon daemon = new Daemon(life == 0);
    trace.add("daemon " + life);
    try {
      if (life == 0) {
        return Optional.of(daemon.relocation.run());
      }
      if (written.isEmpty() || written.get() instanceof MoveState.Over) {
        // It finds the container as any other, and clears both.
        return Optional.of(found());
      }
      return Optional.of(daemon.relocation.settle("found"));
    } catch (HyperFreshException e) {
      require(written.isEmpty() && oldHasIt, "refused when it had begun");
      return Optional.of(new MoveState.RolledBack("refused"));
    } catch (Relocation.LeftException e) {
      daemon.dies();
      return Optional.empty();
    } catch (Throwable e) {
      if (!(e instanceof Killed)) {
        throw e;
      }
      daemon.dies();
      return Optional.empty();
    }
  }

  private MoveState.Over found() {
    return written.isPresent()
        ? (MoveState.Over) written.get()
        : new MoveState.RolledBack("not begun");
  }

  /// What must never be was; passes likewise.
  static final class Violation extends Exception {
    private static final long serialVersionUID = 1;

    Violation(String what) {
      super(what);
    }
  }

  private static void require(boolean holds, String what) {
    if (!holds) {
      throw sneaky(new Violation(what));
    }
  }

  private void check() {
    boolean runsInOld = oldLives && inOld && !standsInOld;
    boolean runsInNew = newLives && inNew && !held;
    everRanInNew |= runsInNew;
    require(!(runsInOld && runsInNew), "it runs twice");
    require(
        !(runsInOld && everRanInNew) || takenOn,
        "it goes on in the old OS after it ran in the new one");
    require(now < MOST_NANOS, "it does not end");
  }

  private void judge(MoveState.Over over) {
    trace.add("over: " + over);
    check();
    boolean there = oldLives && inOld && !standsInOld && !endedItself;
    boolean here = newLives && inNew && !held;
    switch (over) {
      case MoveState.RolledBack _ -> {
        // Whoever finds it rolled back looks whether it is there.
        boolean gone = takenOn && !oldHasIt;
        require(there || endedItself || gone || !oldLives, "rolled back, and it does not run");
        require(!silentInOld || !oldLives, "it cannot be heard");
        require(!toNew, "its packets go elsewhere");
        require(!newLives || (!newHasIt && !inNew), "something of it is left in the new OS");
      }
      case MoveState.Retired _ -> {
        require(here || endedItself || !newLives, "retired, and it does not run");
        require(drained || endedItself || !newLives, "memory is missing");
        require(!oldLives || !oldHasIt, "something of it is left in the old OS");
      }
      case MoveState.Ended _ -> require(everRanInNew || !newLives, "ended where it never ran");
      case MoveState.Lost _ ->
          require(
              !oldLives || everRanInNew || (!newLives && (said || everKilled)) || pageLost,
              "lost, and the old OS has it");
    }
    require(!newLives || (!window && !restorePort), "something of the move is left in the new OS");
    require(!oldLives || !freezePort, "something of the move is left in the old OS");
    require(!images, "files are left");
  }

  /// What one daemon holds, and does.
  private final class Daemon implements MoveSteps, MoveJournal {
    private final Relocation relocation;
    private boolean lets;
    private boolean resumes;

    Daemon(boolean begins) {
      MoveState state = begins ? new MoveState.Preparing() : found();
      relocation = new Relocation(this, this, state, () -> now, this::pause);
    }

    private static MoveState asFound(MoveState state) {
      return state instanceof MoveState.Switching
          ? new MoveState.Switching(MoveState.Told.UNKNOWN)
          : state;
    }

    private MoveState found() {
      return asFound(written.orElseGet(MoveState.Preparing::new));
    }

    /// Whoever waits for a word of it hears a no.
    void dies() {
      everKilled = true;
      hangUpFreeze();
      if (restoring == Restoring.READY || restoring == Restoring.RESTORED) {
        // What it has said may still be on its way.
        if (!(word && random.nextBoolean())) {
          hearNo();
        } else {
          hearRun();
        }
      }
      check();
    }

    private void pause(long nanos) {
      now += nanos;
      if (relocation.isInDoubt() && !resumes && random.nextInt(20) == 0) {
        trace.add("resume");
        resumes = true;
        takenOn = true;
        relocation.resume();
      }
      check();
    }

    // ---- what happens ----

    private void happens(String step, boolean asksOld, boolean asksNew, Runnable work) {
      now += STEP_NANOS;
      Optional<Fault> fault = next();
      trace.add(step + fault.map(it -> " " + it.name().toLowerCase(Locale.ROOT)).orElse(""));
      switch (fault.orElse(null)) {
        case null -> {}
        case REFUSED -> throw trouble(step + " is refused");
        case NO_MEMORY -> throw new OutOfMemoryError("simulated");
        case KILLED -> throw sneaky(new Killed());
        case LET_GO -> {
          lets = true;
          throw trouble("let go of");
        }
        case OLD_DIES -> oldDies();
        case NEW_DIES -> newDies();
        case OLD_HANGS -> oldHangsUntil = now + HANG_NANOS;
        case NEW_HANGS -> newHangsUntil = now + HANG_NANOS;
        case NO_RESTORE -> restoreFails = true;
        case ENDS -> ends();
        case PAGE_LOST -> pageLost = true;
        case DISK_FULL -> diskFull = true;
        case UNHEARD, KILLED_AFTER -> {}
      }
      check();
      if ((asksOld && (!oldLives || now < oldHangsUntil))
          || (asksNew && (!newLives || now < newHangsUntil))) {
        now += STEP_NANOS * 1000;
        throw trouble(step + ": no answer");
      }
      work.run();
      check();
      if (fault.isPresent() && fault.get() == Fault.UNHEARD) {
        throw trouble(step + " is not heard of");
      }
      if (fault.isPresent() && fault.get() == Fault.KILLED_AFTER) {
        throw sneaky(new Killed());
      }
    }

    private Optional<Fault> next() {
      if (faultsLeft == 0 || random.nextInt(12) != 0) {
        return Optional.empty();
      }
      faultsLeft--;
      return Optional.of(FAULTS.get(random.nextInt(FAULTS.size())));
    }

    private void inOldOs(String step, Runnable work) {
      if (oldLives) {
        happens(step, true, false, work);
      }
    }

    private void inNewOs(String step, Runnable work) {
      if (newLives) {
        happens(step, false, true, work);
      }
    }

    private void oldDies() {
      oldLives = false;
      freezing = Freezing.NONE;
    }

    private void newDies() {
      newLives = false;
      restoring = Restoring.NONE;
    }

    private void ends() {
      if (inOld && !standsInOld) {
        endedItself = true;
        inOld = false;
      } else if (inNew && !held) {
        endedItself = true;
        inNew = false;
      }
    }

    private void hangUpFreeze() {
      // CRIU lets all go on, unless it has come so far that they stand without it.
      if (freezing == Freezing.STANDING || defect == Defect.THAWS_UNTOLD) {
        standsInOld = false;
      }
      freezing = freezing == Freezing.DUMPED ? Freezing.DUMPED : Freezing.NONE;
    }

    private void hearNo() {
      restoring = Restoring.ENDED;
      inNew = false;
    }

    private void hearRun() {
      ran = true;
      restoring = Restoring.ENDED;
      held = false;
      everRanInNew = true;
    }

    // ---- the journal ----

    @Override
    public void write(MoveState state) {
      now += STEP_NANOS;
      Optional<Fault> fault = next();
      trace.add("write " + state + fault.map(it -> " " + it).orElse(""));
      if (fault.isPresent() && fault.get() == Fault.KILLED) {
        throw sneaky(new Killed());
      }
      if (diskFull || fault.filter(it -> it == Fault.DISK_FULL).isPresent()) {
        diskFull = random.nextBoolean();
        throw Problem.DAEMON_STATE.because("no space");
      }
      written = Optional.of(state);
      states.add(state.getClass());
      if (fault.isPresent() && fault.get() == Fault.KILLED_AFTER) {
        throw sneaky(new Killed());
      }
    }

    @Override
    public void done(FinishStep step) {
      trace.add("done " + step);
    }

    @Override
    public void waits(String why) {
      trace.add("waits: " + why);
    }

    // ---- the steps ----

    @Override
    public String from() {
      return "old";
    }

    @Override
    public String to() {
      return "new";
    }

    @Override
    public boolean oldEnded() {
      return !oldLives;
    }

    @Override
    public boolean newEnded() {
      return !newLives;
    }

    @Override
    public boolean released() {
      return lets;
    }

    @Override
    public ContainerState.Ended ending() {
      return ContainerState.Ended.unknown(Instant.EPOCH, "simulated");
    }

    @Override
    public void connect() {
      happens("connect", false, true, () -> window = true);
    }

    @Override
    public void plug() {
      happens(
          "plug",
          false,
          true,
          () -> {
            ran = false;
            newHasIt = true;
          });
    }

    @Override
    public void prepare() {
      happens("prepare", true, true, () -> {});
    }

    @Override
    public void beginFreeze() {
      happens(
          "beginFreeze",
          true,
          false,
          () -> {
            requireThere();
            images = true;
            freezePort = true;
            freezing = Freezing.READY;
          });
    }

    private void requireThere() {
      if (!inOld) {
        throw trouble("no process of it runs");
      }
    }

    @Override
    public void beginRestore() {
      happens(
          "beginRestore",
          false,
          true,
          () -> {
            restorePort = true;
            restoring = Restoring.READY;
          });
    }

    @Override
    public void switchPort() {
      happens("switchPort", false, false, () -> toNew = true);
    }

    @Override
    public void freeze() {
      happens(
          "freeze",
          true,
          false,
          () -> {
            requireThere();
            standsInOld = true;
            freezing = Freezing.STANDING;
          });
    }

    @Override
    public void silenceOld() {
      happens("silenceOld", true, false, () -> silentInOld = true);
    }

    @Override
    public void dump() {
      happens("dump", true, false, () -> freezing = Freezing.DUMPED);
    }

    @Override
    public void copy() {
      happens("copy", false, false, () -> {});
    }

    @Override
    public void restore() {
      happens(
          "restore",
          false,
          true,
          () -> {
            if (restoreFails) {
              hearNo();
              throw trouble("CRIU failed");
            }
            restoring = Restoring.RESTORED;
            held = defect != Defect.RUNS_UNTOLD;
            inNew = true;
          });
    }

    @Override
    public void run() {
      said = true;
      // It may be lost on its way.
      word = random.nextInt(30) != 0;
      happens(
          "run",
          false,
          false,
          () -> {
            if (word && newLives && random.nextBoolean()) {
              hearRun();
            }
          });
    }

    @Override
    public int awaitRunning() {
      happens(
          "awaitRunning",
          false,
          true,
          () -> {
            if (restoring == Restoring.RESTORED && word) {
              hearRun();
            }
            if (!inNew || held) {
              throw trouble("it ended at once");
            }
          });
      return 7;
    }

    @Override
    public void giveUpRestore() {
      inNewOs(
          "giveUpRestore",
          () -> {
            if (restoring == Restoring.READY) {
              hearNo();
            } else if (restoring == Restoring.RESTORED) {
              if (word && random.nextBoolean()) {
                hearRun();
              } else {
                hearNo();
              }
            }
            restorePort = false;
          });
    }

    @Override
    public Optional<Integer> here() {
      happens("here", false, true, () -> {});
      require(restoring != Restoring.RESTORED, "asked while it waits for a word");
      return ran && defect != Defect.SAYS_NOT_HERE ? Optional.of(inNew ? 7 : 0) : Optional.empty();
    }

    @Override
    public void silenceNew() {
      inNewOs("silenceNew", () -> {});
    }

    @Override
    public void endNew() {
      inNewOs(
          "endNew",
          () -> {
            inNew = false;
            restoring = restoring == Restoring.NONE ? Restoring.NONE : Restoring.ENDED;
          });
    }

    @Override
    public void giveUpFreeze() {
      inOldOs("giveUpFreeze", this::hangUpFreeze);
    }

    @Override
    public void thaw() {
      inOldOs(
          "thaw",
          () -> {
            require(!everRanInNew || takenOn, "thawed after it ran in the new OS");
            hangUpFreeze();
            freezing = Freezing.NONE;
            standsInOld = false;
            images = false;
          });
    }

    @Override
    public void hearOld() {
      inOldOs(
          "hearOld",
          () -> {
            require(!standsInOld, "it is to hear before it goes on");
            silentInOld = false;
            freezePort = false;
          });
    }

    @Override
    public void switchBack() {
      happens("switchBack", false, false, () -> toNew = false);
    }

    @Override
    public void deliver() {
      inNewOs("deliver", () -> {});
    }

    @Override
    public void adopt() {
      if (images) {
        happens("adopt", false, true, () -> adopted = true);
      }
    }

    @Override
    public void drain() {
      if (images) {
        happens(
            "drain",
            false,
            true,
            () -> {
              require(adopted, "drained before it was adopted");
              if (pageLost) {
                throw new MemoryLostException("a page is lost");
              }
              if (!inNew) {
                throw trouble("it has ended");
              }
              drained = true;
            });
      }
    }

    @Override
    public Drain drained() {
      return Drain.NONE;
    }

    @Override
    public void clearOld() {
      inOldOs(
          "clearOld",
          () -> {
            require(
                drained || !newLives || !inNew || held,
                "the old OS loses memory that has not come to the new one");
            hangUpFreeze();
            freezing = Freezing.NONE;
            freezePort = false;
            oldHasIt = false;
            inOld = false;
          });
    }

    @Override
    public void clearMove() {
      inNewOs(
          "clearMove",
          () -> {
            require(drained || !newLives || !inNew, "the window goes before all memory has come");
            window = false;
            restorePort = false;
          });
    }

    @Override
    public void clearNew() {
      inNewOs(
          "clearNew",
          () -> {
            newHasIt = false;
            inNew = false;
          });
    }

    @Override
    public void forgetFiles() {
      happens("forgetFiles", false, false, () -> images = false);
    }
  }
}
