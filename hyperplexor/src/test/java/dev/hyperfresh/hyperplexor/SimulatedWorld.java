package dev.hyperfresh.hyperplexor;

import static dev.hyperfresh.hyperplexor.SimulatedTime.MICRO;
import static dev.hyperfresh.hyperplexor.SimulatedTime.MILLI;
import static dev.hyperfresh.hyperplexor.SimulatedTime.SECOND;

import dev.hyperfresh.hyperplexor.SimulatedFaults.DaemonKilled;
import dev.hyperfresh.hyperplexor.SimulatedHypervisor.Build;
import dev.hyperfresh.hypervisor.RunState;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/// One guest, its hypervisors, their host and the daemons that own them one after the other, in
/// virtual time, all on one thread and decided by one seed: how long everything takes, in which
/// order the reports of two hypervisors arrive, what goes wrong and when, when a daemon is killed,
/// stopped or upgraded, and what an operator asks for. What moves the guest in it is the real
/// [Replacement], what decides whether it goes on the real [Hosting], and what finds it after a
/// restart the real [Verdict].
///
/// Every call of an instance, every wait, every write and every event is a step. The faults happen
/// at the steps that the seed chose. After every step the invariants are checked; a world that
/// breaks one ends with an `AssertionError` that names the seed.
final class SimulatedWorld implements Surroundings {
  /// What an operator does in a daemon's life.
  private enum Act {
    REPLACE,
    RESUME,
    /// The daemon ends in an orderly way, and another takes the guest over.
    RESTART,
    WAIT
  }

  /// Breaks the world on purpose, to show that the invariants would notice.
  enum Defect {
    NONE,
    /// A frozen process goes on.
    FREEZE_LIES,
    /// A source that is ended goes on.
    END_LIES,
    /// A doubt is not written down, and cannot be seen from the process either.
    DOUBT_FORGOTTEN,
    /// The log says that a target has not run the guest, whatever it did.
    LOG_LIES
  }

  /// No replacement and no recovery of one guest takes longer, whatever goes wrong once or twice.
  private static final long LONGEST = 240 * SECOND;

  final long seed;
  final Defect defect;
  final SplittableRandom random;
  final SimulatedInvariants invariants = new SimulatedInvariants(this);
  final SimulatedTime time = new SimulatedTime(invariants::checkAlways);
  final SimulatedDisk disk = new SimulatedDisk(this);
  final SimulatedGuest guest = new SimulatedGuest();
  final SimulatedPorts ports = new SimulatedPorts(this);
  final SimulatedFaults faults;

  /// Every process that ever had or was to have the guest, oldest first.
  final List<SimulatedInstance> processes = new ArrayList<>();

  /// What the guest is moved to.
  final Build next;

  /// Of the newest instance.
  int generation;

  private final boolean tracing;
  private final List<String> trace = new ArrayList<>();
  private @Nullable SimulatedDaemon daemon;
  private int raised;

  SimulatedWorld(long seed, Defect defect, boolean tracing) {
    this.seed = seed;
    this.defect = defect;
    this.tracing = tracing;
    this.random = new SplittableRandom(seed);
    Build old = new Build("simulated-1", true);
    this.next = new Build("simulated-2", random.nextInt(4) > 0);
    this.faults = new SimulatedFaults(this);
    SimulatedInstance first =
        new SimulatedInstance(this, new SimulatedDaemon(this).launch(old), RunState.RUNNING);
    disk.write(first, Optional.empty(), Optional.empty());
  }

  /// Runs some daemons' lives, and a last one in which nothing goes wrong any more.
  ///
  /// @return the outcomes of what was asked for, in their order
  String run() {
    List<String> outcomes = new ArrayList<>();
    Act[] acts = new Act[1 + random.nextInt(3)];
    acts[0] = Act.REPLACE;
    for (int i = 1; i < acts.length; i++) {
      acts[i] = Act.values()[random.nextInt(Act.values().length)];
    }
    Optional<SimulatedDaemon> current = begin(outcomes);
    for (Act act : acts) {
      current = act(current, act, outcomes);
    }
    trace("nothing goes wrong any more");
    faults.end();
    time.advance(20 * SECOND);
    current.ifPresent(invariants::checkLife);
    SimulatedDaemon last = begin(outcomes).orElseThrow(() -> broken("the last daemon was killed"));
    time.advance(90 * SECOND);
    invariants.checkEnd(last);
    if (last.hosting.doubt().isPresent()) {
      outcomes.add("in doubt");
    }
    return String.join(", ", outcomes);
  }

  private Optional<SimulatedDaemon> act(
      Optional<SimulatedDaemon> current, Act act, List<String> outcomes) {
    long begin = time.now();
    try {
      switch (act) {
        case REPLACE -> outcomes.add(current.map(it -> it.working(it::replace)).orElse("no guest"));
        case RESUME -> outcomes.add(current.map(it -> it.working(it::resume)).orElse("no guest"));
        case WAIT -> time.advance(random.nextLong(5 * SECOND));
        case RESTART -> {
          current.ifPresent(SimulatedDaemon::end);
          return begin(outcomes);
        }
      }
    } catch (DaemonKilled e) {
      outcomes.add("daemon killed");
      trace("the daemon is killed");
      current.ifPresent(SimulatedDaemon::end);
      raised = 0;
      time.advance(random.nextLong(3 * SECOND));
      return begin(outcomes);
    }
    if (time.now() - begin > LONGEST) {
      throw broken(act + " took " + (time.now() - begin) / SECOND + " s");
    }
    return current;
  }

  /// Another daemon begins its life; killed while it takes the guest back, yet another.
  private Optional<SimulatedDaemon> begin(List<String> outcomes) {
    while (true) {
      SimulatedDaemon begun = new SimulatedDaemon(this);
      daemon = begun;
      trace("a daemon begins");
      try {
        begun.working(() -> {
          begun.takeBack();
          return "";
        });
        return Optional.of(begun);
      } catch (DaemonKilled e) {
        outcomes.add("daemon killed");
        trace("the daemon is killed");
        begun.end();
        raised = 0;
        time.advance(random.nextLong(3 * SECOND));
      }
    }
  }

  /// Whether that is the daemon that lives now.
  boolean isCurrent(@Nullable SimulatedDaemon which) {
    return which == daemon;
  }

  boolean operatorInsists() {
    return daemon != null && daemon.operatorInsists();
  }

  List<String> trace() {
    return trace;
  }

  void trace(String line) {
    if (tracing) {
      trace.add("%6d.%03d ms  %s".formatted(time.now() / MILLI, time.now() / MICRO % 1000, line));
    }
  }

  AssertionError broken(String what) {
    return new AssertionError(
        "seed "
            + seed
            + " ("
            + faults
            + "): "
            + what
            + (tracing ? "\n" + String.join("\n", trace) : ""));
  }

  /// A step of a daemon: the chosen faults may happen before it.
  void step(String what) {
    trace(what);
    faults.step();
  }

  /// Mostly quick, at times slow, now and then very slow.
  long latency() {
    int luck = random.nextInt(100);
    if (luck < 80) {
      return 10 * MICRO + random.nextLong(2 * MILLI);
    }
    return luck < 98 ? random.nextLong(50 * MILLI) : random.nextLong(1500 * MILLI);
  }

  List<SimulatedInstance> living() {
    return processes.stream().filter(process -> process.alive).toList();
  }

  SimulatedInstance process(int which) {
    return processes.stream()
        .filter(process -> process.generation() == which)
        .findFirst()
        .orElseThrow();
  }

  /// What the log of an instance says, which outlives it.
  Optional<Boolean> logged(int which) {
    if (faults.logLost()) {
      return Optional.empty();
    }
    return Optional.of(defect != Defect.LOG_LIES && process(which).hasRun);
  }

  void requirePriorityLowered() {
    if (raised != 0) {
      throw broken("priority was raised " + raised + " times more than it was lowered");
    }
  }

  void requireWrittenBack(boolean done) {
    if (!done) {
      throw broken("the order came before the guest's disks were written back");
    }
  }

  // ---- what a replacement needs of it ----

  @Override
  public long nanos() {
    return time.now();
  }

  @Override
  public long wallMicros() {
    return time.micros();
  }

  @Override
  public void pause(long nanos) {
    step("pause");
    time.advance(nanos);
  }

  @Override
  public void write(Journal.Entry entry) {
    step("journal " + entry.state());
    disk.write(entry);
    time.advance(latency() / 4);
  }

  @Override
  public Priority priority(int source, int target, boolean passedOn) {
    return new Priority() {
      @Override
      public void raise() {
        raised++;
      }

      @Override
      public void lower() {
        raised--;
      }
    };
  }
}
