package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import dev.hyperfresh.relocation.RelocationRecord.Drain;
import dev.hyperfresh.relocation.SimulatedFaults.Fault;
import dev.hyperfresh.relocation.SimulatedOs.Fresh.Restoring;
import dev.hyperfresh.relocation.SimulatedOs.Old.Freezing;
import dev.hyperfresh.relocation.SimulatedWorld.Defect;
import java.time.Instant;
import java.util.Locale;
import java.util.Optional;

/// One daemon that moves the container of a [SimulatedWorld], or finds it being moved: what is done
/// in the world at each step, and which fault happens there. For one thread.
final class SimulatedDaemon implements MoveSteps, MoveJournal {
  private static final long HANG_NANOS = 45_000_000_000L;
  private static final long STEP_NANOS = 1_000_000;

  private final SimulatedWorld world;
  private final SimulatedOs.Old old;
  private final SimulatedOs.Fresh fresh;
  private final SimulatedFaults faults;
  private final Relocation relocation;
  private boolean lets;
  private boolean resumes;

  /// @param begins whether it begins the move
  SimulatedDaemon(SimulatedWorld world, SimulatedFaults faults, boolean begins) {
    this.world = world;
    this.old = world.old;
    this.fresh = world.fresh;
    this.faults = faults;
    MoveState state = begins ? new MoveState.Preparing() : found();
    relocation = new Relocation(this, this, state, () -> world.now, this::pause);
  }

  private MoveState found() {
    MoveState state = world.written.orElseGet(MoveState.Preparing::new);
    return state instanceof MoveState.Switching
        ? new MoveState.Switching(MoveState.Told.UNKNOWN)
        : state;
  }

  /// The daemon is killed: passes through all that catches what a program throws.
  static final class Killed extends Exception {
    private static final long serialVersionUID = 1;
  }

  /// The move, as it was left.
  Relocation relocation() {
    return relocation;
  }

  private void pause(long nanos) {
    world.now += nanos;
    if (relocation.isInDoubt() && !resumes && world.random.nextInt(20) == 0) {
      world.trace.add("resume");
      resumes = true;
      world.takenOn = true;
      relocation.resume();
    }
    world.check();
  }

  // ---- what happens ----

  private static TroubleException trouble(String why) {
    return new TroubleException(why);
  }

  private void happens(String step, boolean asksOld, boolean asksNew, Runnable work) {
    world.now += STEP_NANOS;
    Optional<Fault> fault = faults.next();
    world.trace.add(step + fault.map(it -> " " + it.name().toLowerCase(Locale.ROOT)).orElse(""));
    switch (fault.orElse(null)) {
      case null -> {}
      case REFUSED -> throw trouble(step + " is refused");
      case NO_MEMORY -> throw new OutOfMemoryError("simulated");
      case KILLED -> throw SimulatedWorld.sneaky(new Killed());
      case LET_GO -> {
        lets = true;
        throw trouble("let go of");
      }
      case OLD_DIES -> old.dies();
      case NEW_DIES -> fresh.dies();
      case OLD_HANGS -> old.hangsUntil = world.now + HANG_NANOS;
      case NEW_HANGS -> fresh.hangsUntil = world.now + HANG_NANOS;
      case NO_RESTORE -> world.restoreFails = true;
      case ENDS -> world.ends();
      case PAGE_LOST -> world.pageLost = true;
      case DISK_FULL -> world.diskFull = true;
      case UNHEARD, KILLED_AFTER -> {}
    }
    world.check();
    if ((asksOld && !old.answers(world.now)) || (asksNew && !fresh.answers(world.now))) {
      world.now += STEP_NANOS * 1000;
      throw trouble(step + ": no answer");
    }
    work.run();
    world.check();
    if (fault.isPresent() && fault.get() == Fault.UNHEARD) {
      throw trouble(step + " is not heard of");
    }
    if (fault.isPresent() && fault.get() == Fault.KILLED_AFTER) {
      throw SimulatedWorld.sneaky(new Killed());
    }
  }

  private void inOldOs(String step, Runnable work) {
    if (old.lives) {
      happens(step, true, false, work);
    }
  }

  private void inNewOs(String step, Runnable work) {
    if (fresh.lives) {
      happens(step, false, true, work);
    }
  }

  // ---- the journal ----

  @Override
  public void write(MoveState state) {
    world.now += STEP_NANOS;
    Optional<Fault> fault = faults.next();
    world.trace.add("write " + state + fault.map(it -> " " + it).orElse(""));
    if (fault.isPresent() && fault.get() == Fault.KILLED) {
      throw SimulatedWorld.sneaky(new Killed());
    }
    if (world.diskFull || fault.filter(it -> it == Fault.DISK_FULL).isPresent()) {
      world.diskFull = world.random.nextBoolean();
      throw Problem.DAEMON_STATE.because("no space");
    }
    world.written = Optional.of(state);
    world.states.add(state.getClass());
    if (fault.isPresent() && fault.get() == Fault.KILLED_AFTER) {
      throw SimulatedWorld.sneaky(new Killed());
    }
  }

  @Override
  public void done(FinishStep step) {
    world.trace.add("done " + step);
  }

  @Override
  public void waits(String why) {
    world.trace.add("waits: " + why);
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
    return !old.lives;
  }

  @Override
  public boolean newEnded() {
    return !fresh.lives;
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
    happens("connect", false, true, () -> fresh.window = true);
  }

  @Override
  public void plug() {
    happens(
        "plug",
        false,
        true,
        () -> {
          fresh.ran = false;
          fresh.hasIt = true;
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
          world.images = true;
          old.port = true;
          old.freezing = Freezing.READY;
        });
  }

  private void requireThere() {
    if (!old.inside) {
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
          fresh.port = true;
          fresh.restoring = Restoring.READY;
        });
  }

  @Override
  public void switchPort() {
    happens("switchPort", false, false, () -> world.toNew = true);
  }

  @Override
  public void freeze() {
    happens(
        "freeze",
        true,
        false,
        () -> {
          requireThere();
          old.stands = true;
          old.freezing = Freezing.STANDING;
        });
  }

  @Override
  public void silenceOld() {
    happens("silenceOld", true, false, () -> old.silent = true);
  }

  @Override
  public void dump() {
    happens("dump", true, false, () -> old.freezing = Freezing.DUMPED);
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
          if (world.restoreFails) {
            fresh.hearNo();
            throw trouble("CRIU failed");
          }
          fresh.restoring = Restoring.RESTORED;
          fresh.held = world.defect != Defect.RUNS_UNTOLD;
          fresh.inside = true;
        });
  }

  @Override
  public void run() {
    world.said = true;
    // It may be lost on its way.
    fresh.word = world.random.nextInt(30) != 0;
    happens(
        "run",
        false,
        false,
        () -> {
          if (fresh.word && fresh.lives && world.random.nextBoolean()) {
            fresh.hearRun();
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
          if (fresh.restoring == Restoring.RESTORED && fresh.word) {
            fresh.hearRun();
          }
          if (!fresh.inside || fresh.held) {
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
          if (fresh.restoring == Restoring.READY) {
            fresh.hearNo();
          } else if (fresh.restoring == Restoring.RESTORED) {
            if (fresh.word && world.random.nextBoolean()) {
              fresh.hearRun();
            } else {
              fresh.hearNo();
            }
          }
          fresh.port = false;
        });
  }

  @Override
  public Optional<Integer> here() {
    happens("here", false, true, () -> {});
    SimulatedWorld.require(
        fresh.restoring != Restoring.RESTORED, "asked while it waits for a word");
    return fresh.ran && world.defect != Defect.SAYS_NOT_HERE
        ? Optional.of(fresh.inside ? 7 : 0)
        : Optional.empty();
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
          fresh.inside = false;
          fresh.restoring = fresh.restoring == Restoring.NONE ? Restoring.NONE : Restoring.ENDED;
        });
  }

  @Override
  public void giveUpFreeze() {
    inOldOs("giveUpFreeze", old::hangUp);
  }

  @Override
  public void thaw() {
    inOldOs(
        "thaw",
        () -> {
          SimulatedWorld.require(
              !fresh.everRan || world.takenOn, "thawed after it ran in the new OS");
          old.hangUp();
          old.freezing = Freezing.NONE;
          old.stands = false;
          world.images = false;
        });
  }

  @Override
  public void hearOld() {
    inOldOs(
        "hearOld",
        () -> {
          SimulatedWorld.require(!old.stands, "it is to hear before it goes on");
          old.silent = false;
          old.port = false;
        });
  }

  @Override
  public void switchBack() {
    happens("switchBack", false, false, () -> world.toNew = false);
  }

  @Override
  public void deliver() {
    inNewOs("deliver", () -> {});
  }

  @Override
  public void adopt() {
    if (world.images) {
      happens("adopt", false, true, () -> fresh.adopted = true);
    }
  }

  @Override
  public void drain() {
    if (world.images) {
      happens(
          "drain",
          false,
          true,
          () -> {
            SimulatedWorld.require(fresh.adopted, "drained before it was adopted");
            if (world.pageLost) {
              throw new MemoryLostException("a page is lost");
            }
            if (!fresh.inside) {
              throw trouble("it has ended");
            }
            fresh.drained = true;
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
          SimulatedWorld.require(
              fresh.drained || !fresh.lives || !fresh.inside || fresh.held,
              "the old OS loses memory that has not come to the new one");
          old.hangUp();
          old.freezing = Freezing.NONE;
          old.port = false;
          old.hasIt = false;
          old.inside = false;
        });
  }

  @Override
  public void clearMove() {
    inNewOs(
        "clearMove",
        () -> {
          SimulatedWorld.require(
              fresh.drained || !fresh.lives || !fresh.inside,
              "the window goes before all memory has come");
          fresh.window = false;
          fresh.port = false;
        });
  }

  @Override
  public void clearNew() {
    inNewOs(
        "clearNew",
        () -> {
          fresh.hasIt = false;
          fresh.inside = false;
        });
  }

  @Override
  public void forgetFiles() {
    happens("forgetFiles", false, false, () -> world.images = false);
  }
}
