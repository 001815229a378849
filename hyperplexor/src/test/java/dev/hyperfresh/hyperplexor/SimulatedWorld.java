package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.Supplier;
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

  /// What an operator does in a daemon's life.
  private enum Act {
    REPLACE,
    RESUME,
    /// The daemon ends in an orderly way, and another takes the guest over.
    RESTART,
    WAIT
  }

  /// The daemon's process ends here: nothing of it runs any more.
  static final class DaemonKilled extends Error {
    private static final long serialVersionUID = 1;

    DaemonKilled() {
      super("the daemon is killed", null, false, false);
    }
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

  /// A build, named as no real one.
  record Build(String name, String kind, boolean keepsSuspended) implements Release {
    @Override
    public String version() {
      return name.substring(name.indexOf('-') + 1);
    }

    @Override
    public Set<String> machines() {
      return Set.of("pc-q35-7.2");
    }
  }

  private record Planned(Fault fault, int step) {}

  private static final String KIND = "simulated";
  private static final long MICRO = 1_000;
  private static final long MILLI = 1_000_000;
  private static final long SECOND = 1_000_000_000;
  private static final long PATIENCE = 2 * SECOND;
  private static final int FIRST_STEPS = 40;

  /// No replacement and no recovery of one guest takes longer, whatever goes wrong once or twice.
  private static final long LONGEST = 240 * SECOND;

  private static final Duration BUDGET = Duration.ofSeconds(1);
  private static final MemFd MEMORY = MemFd.create("simulated", 16 << 20);
  private static final AcceleratorChoice TCG = new AcceleratorChoice(Accelerator.TCG, "simulated");
  private static final GuestSpec SPEC =
      new GuestSpec(
          "sim",
          1,
          16 << 20,
          "pc-q35-7.2",
          "qemu64",
          AcceleratorWish.TCG,
          Optional.of(new GuestSpec.KernelBoot(Path.of("/kernel"), Optional.empty(), "")),
          List.of(),
          List.of());

  private record Task(long at, long order, Runnable action) {}

  final long seed;
  private final Defect defect;
  private final SplittableRandom random;
  private final boolean tracing;
  private final List<String> trace = new ArrayList<>();
  private final PriorityQueue<Task> agenda =
      new PriorityQueue<>(Comparator.comparingLong(Task::at).thenComparingLong(Task::order));
  private final List<Actor> processes = new ArrayList<>();
  private final List<String> journal = new ArrayList<>();
  private final List<Planned> faults = new ArrayList<>();
  private final List<String> happened = new ArrayList<>();
  private final SimulatedPorts ports = new SimulatedPorts();
  private final Build old;
  private final Build next;

  /// What is on disk of the guest.
  private @Nullable GuestFile file;

  private @Nullable Life life;
  private long now = SECOND;
  private long order;
  private int step;
  private int generation;
  private int raised;
  private boolean over;

  /// The state of the guest's vCPUs counts up with each process that ran it.
  private int epoch = 1;

  /// When the vCPUs stopped last on a source, and ran first on a target.
  private long stoppedMicros;

  private long resumedMicros;
  private boolean stateWasLost;
  private boolean guestIsOff;

  /// Whether no daemon heard of it, so that a guest that was just being moved goes on.
  private boolean offUnheard;

  private boolean daemonWasKilled;
  private boolean operatorInsists;
  private boolean callFails;
  private boolean errorThrown;
  private boolean answerLost;
  private boolean freezeFails;
  private boolean logLost;
  private boolean diskFull;
  private boolean targetRefuses;
  private boolean targetIsSlow;

  SimulatedWorld(long seed, Defect defect, boolean tracing) {
    this.seed = seed;
    this.defect = defect;
    this.tracing = tracing;
    this.random = new SplittableRandom(seed);
    this.old = new Build("simulated-1", KIND, true);
    this.next = new Build("simulated-2", KIND, random.nextInt(4) > 0);
    int luck = random.nextInt(10);
    int count = luck < 1 ? 0 : luck < 7 ? 1 : 2;
    for (int i = 0; i < count; i++) {
      Fault fault = Fault.values()[random.nextInt(Fault.values().length)];
      faults.add(new Planned(fault, 1 + random.nextInt(FIRST_STEPS)));
      targetRefuses |= fault == Fault.TARGET_REFUSES;
      targetIsSlow |= fault == Fault.TARGET_IS_SLOW;
    }
    Actor first = new Actor(new Life().launch(old), RunState.RUNNING);
    file = file(first, Optional.empty(), Optional.empty());
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
    Optional<Life> current = begin(outcomes);
    for (Act act : acts) {
      current = act(current, act, outcomes);
    }
    trace("nothing goes wrong any more");
    over = true;
    callFails = false;
    errorThrown = false;
    answerLost = false;
    freezeFails = false;
    diskFull = false;
    advance(20 * SECOND);
    current.ifPresent(this::checkLife);
    Life last = begin(outcomes).orElseThrow(() -> broken("the last daemon was killed"));
    advance(90 * SECOND);
    checkEnd(last);
    if (last.hosting.doubt().isPresent()) {
      outcomes.add("in doubt");
    }
    return String.join(", ", outcomes);
  }

  private Optional<Life> act(Optional<Life> current, Act act, List<String> outcomes) {
    long begin = now;
    try {
      switch (act) {
        case REPLACE ->
            outcomes.add(current.map(daemon -> daemon.working(daemon::replace)).orElse("no guest"));
        case RESUME ->
            outcomes.add(current.map(daemon -> daemon.working(daemon::resume)).orElse("no guest"));
        case WAIT -> advance(random.nextLong(5 * SECOND));
        case RESTART -> {
          current.ifPresent(Life::end);
          return begin(outcomes);
        }
      }
    } catch (DaemonKilled e) {
      outcomes.add("daemon killed");
      trace("the daemon is killed");
      current.ifPresent(Life::end);
      raised = 0;
      advance(random.nextLong(3 * SECOND));
      return begin(outcomes);
    }
    if (now - begin > LONGEST) {
      throw broken(act + " took " + (now - begin) / SECOND + " s");
    }
    return current;
  }

  /// Another daemon begins its life; killed while it takes the guest back, yet another.
  private Optional<Life> begin(List<String> outcomes) {
    while (true) {
      Life begun = new Life();
      life = begun;
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
        advance(random.nextLong(3 * SECOND));
      }
    }
  }

  /// Every fault that came, with the state of the replacement in which it did.
  List<String> happened() {
    return happened;
  }

  List<String> trace() {
    return trace;
  }

  private void trace(String line) {
    if (tracing) {
      trace.add("%6d.%03d ms  %s".formatted(now / MILLI, now / MICRO % 1000, line));
    }
  }

  private AssertionError broken(String what) {
    return new AssertionError(
        "seed "
            + seed
            + " ("
            + faults
            + "): "
            + what
            + (tracing ? "\n" + String.join("\n", trace) : ""));
  }

  // ---- time ----

  @Override
  public long nanos() {
    return now;
  }

  @Override
  public long wallMicros() {
    return now / MICRO;
  }

  @Override
  public void pause(long nanos) {
    step("pause");
    advance(nanos);
  }

  private void advance(long nanos) {
    long until = now + nanos;
    while (!agenda.isEmpty() && agenda.peek().at() <= until) {
      runNext();
    }
    now = until;
    checkAlways();
  }

  private void runNext() {
    Task task = agenda.remove();
    now = Math.max(now, task.at());
    task.action().run();
    checkAlways();
  }

  private void later(long nanos, Runnable action) {
    agenda.add(new Task(now + nanos, order++, action));
  }

  /// Mostly quick, at times slow, now and then very slow.
  private long latency() {
    int luck = random.nextInt(100);
    if (luck < 80) {
      return 10 * MICRO + random.nextLong(2 * MILLI);
    }
    return luck < 98 ? random.nextLong(50 * MILLI) : random.nextLong(1500 * MILLI);
  }

  /// A step of a daemon: the chosen faults may happen before it.
  private void step(String what) {
    trace(what);
    if (over) {
      return;
    }
    step++;
    for (Planned planned : faults) {
      if (planned.step() == step) {
        strike(planned.fault());
      }
    }
  }

  private void strike(Fault fault) {
    happened.add(fault + " " + (journal.isEmpty() ? "Planned" : journal.getLast()));
    trace("FAULT " + fault);
    Actor last = processes.getLast();
    Actor source =
        processes.size() > 1 && last.state == RunState.AWAITING
            ? processes.get(processes.size() - 2)
            : processes.get(Math.max(0, processes.size() - 2));
    Optional<Actor> target = last == source ? Optional.empty() : Optional.of(last);
    switch (fault) {
      case TARGET_REFUSES, TARGET_IS_SLOW -> {}
      case SOURCE_KILLED -> source.die("killed");
      case SOURCE_HANGS -> source.hang();
      case SOURCE_HANGS_FOR_A_WHILE -> source.hangFor(random.nextLong(4 * SECOND));
      case TARGET_KILLED -> target.ifPresent(t -> t.die("killed"));
      case TARGET_HANGS -> target.ifPresent(Actor::hang);
      case TARGET_HANGS_FOR_A_WHILE ->
          target.ifPresent(t -> t.hangFor(random.nextLong(4 * SECOND)));
      case TARGET_DOES_NOT_DIE -> target.ifPresent(Actor::becomeUndead);
      case CHANNEL_CUT -> source.channelCut = true;
      case SOURCE_CONTROL_LOST -> source.loseControl();
      case TARGET_CONTROL_LOST -> target.ifPresent(Actor::loseControl);
      case CALL_FAILS -> callFails = true;
      case CALL_THROWS_ERROR -> errorThrown = true;
      case ANSWER_LOST -> answerLost = true;
      case FREEZE_FAILS -> freezeFails = true;
      case LOG_LOST -> logLost = true;
      case DISK_FULL -> diskFull = true;
      case DISK_FULL_FOR_A_WHILE -> {
        diskFull = true;
        later(random.nextLong(3 * SECOND), () -> diskFull = false);
      }
      case DAEMON_KILLED -> {
        daemonWasKilled = true;
        throw new DaemonKilled();
      }
      case GUEST_POWERS_OFF -> processes.forEach(Actor::powerOffByItself);
      case GUEST_RESETS -> processes.forEach(Actor::resetByItself);
      case GUEST_SLEEPS -> processes.forEach(Actor::sleepByItself);
      case GUEST_STOPS_FOR_ITS_DISK -> processes.forEach(Actor::stopForItsDisk);
    }
    checkAlways();
  }

  // ---- invariants ----

  private void checkAlways() {
    int running = 0;
    for (Actor process : processes) {
      if (process.executes()) {
        running++;
        if (process.epoch != epoch) {
          throw broken("generation " + process.generation() + " runs a state that is not the last");
        }
      }
    }
    if (running > 1) {
      throw broken("two hypervisors run the guest");
    }
  }

  /// Of a daemon that was not killed.
  private void checkLife(Life daemon) {
    if (raised != 0) {
      throw broken("priority was raised " + raised + " times more than it was lowered");
    }
    if (daemon.state == GuestView.State.REPLACING) {
      throw broken("the guest is still being replaced");
    }
    if (daemon.recovering) {
      return;
    }
    List<Actor> living = living();
    if (living.size() > 1 && living.stream().noneMatch(process -> process.undead)) {
      throw broken(living.size() + " processes are left");
    }
    Instance instance = daemon.hosting.instance();
    if (living.isEmpty() || instance == null) {
      return;
    }
    if (!living.contains((Actor) instance)) {
      throw broken("the guest's instance has ended unseen");
    }
  }

  private List<Actor> living() {
    return processes.stream().filter(process -> process.alive).toList();
  }

  /// When nothing has gone wrong for a while under a daemon that has just begun.
  private void checkEnd(Life last) {
    List<Actor> living = living();
    if (living.stream().anyMatch(process -> process.hung || process.undead)) {
      // Nobody can tell what it holds; it may be the guest for ever.
      return;
    }
    if (guestIsOff
        && !offUnheard
        && !daemonWasKilled
        && living.stream().anyMatch(Actor::executes)) {
      throw broken("the guest asked to be powered off, and runs");
    }
    if (living.size() > 1) {
      throw broken(living.size() + " processes are left");
    }
    if (living.isEmpty()) {
      if (!stateWasLost && !guestIsOff) {
        throw broken("the guest was lost, and no process died that alone held its state");
      }
      return;
    }
    Actor left = living.getFirst();
    if (last.recovering || last.hosting.instance() != left) {
      throw broken("generation " + left.generation() + " lives and nobody has it");
    }
    boolean doubt = last.hosting.doubt().isPresent();
    boolean stale = left.epoch != epoch;
    if (doubt && left.executes()) {
      throw broken("the guest runs and counts as doubtful");
    }
    if (doubt && !stale && !logLost) {
      throw broken("the guest counts as doubtful, and nobody else has run it");
    }
    if (stale && !doubt) {
      throw broken("generation " + left.generation() + " has an old state, and nobody knows");
    }
    if (!doubt && !left.isLive() && !left.stoppedByItself) {
      throw broken("generation " + left.generation() + " is left and is " + left.state);
    }
  }

  // ---- the journal, the disk and priorities ----

  @Override
  public void write(Journal.Entry entry) {
    step("journal " + entry.state());
    if (diskFull) {
      throw Problem.DAEMON_STATE.because("No space left on device.");
    }
    journal.add(entry.state());
    advance(latency() / 4);
  }

  @Override
  public Priority priority(int source, int target) {
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

  private GuestFile file(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
    return new GuestFile(
        SPEC,
        TCG,
        Instant.EPOCH,
        OptionalInt.empty(),
        tenant(running),
        waiting.map(SimulatedWorld::tenant),
        defect == Defect.DOUBT_FORGOTTEN ? Optional.empty() : doubt,
        Optional.empty(),
        ClockLoss.NONE,
        generation);
  }

  private static GuestFile.Tenant tenant(Instance instance) {
    return new GuestFile.Tenant(
        instance.pid(), 1, "", instance.generation(), instance.release().name(), KIND);
  }

  private Actor actor(int which) {
    return processes.stream()
        .filter(process -> process.generation() == which)
        .findFirst()
        .orElseThrow();
  }

  private Actor actor(GuestFile.Tenant tenant) {
    return actor(tenant.generation());
  }

  /// What the log of an instance says, which outlives it.
  private Optional<Boolean> logged(int which) {
    if (logLost) {
      return Optional.empty();
    }
    return Optional.of(defect != Defect.LOG_LIES && actor(which).hasRun);
  }

  /// Which side gets the packets.
  private final class SimulatedPorts extends Endpoints {
    private boolean spare;

    SimulatedPorts() {
      super(List.of());
    }

    @Override
    List<Fd> spares() {
      spare = true;
      return List.of();
    }

    @Override
    void keep() {
      spare = false;
    }

    @Override
    void drop() {
      if (spare && processes.size() > 1 && processes.getLast().alive) {
        throw broken("a port is taken away under a target that lives");
      }
      spare = false;
    }
  }

  /// One daemon's life with the guest: what is forgotten when it is killed.
  private final class Life implements Movable, Hosting.Home, Verdict.Remains {
    private final Queue<InstanceEvent> mailbox = new ArrayDeque<>();
    private final Hosting hosting = new Hosting(this);
    private GuestView.State state = GuestView.State.STOPPED;
    private boolean recovering;
    private boolean busy;

    void end() {
      offUnheard |= guestIsOff;
      processes.forEach(process -> process.forget(this));
    }

    // As [Recovery] does.
    void takeBack() {
      GuestFile written = file;
      if (written == null) {
        // One that was killed and does not die yet has nothing of the guest.
        if (processes.stream().anyMatch(process -> process.alive && !process.killed)) {
          throw broken("a process lives that nobody knows of");
        }
        return;
      }
      state = GuestView.State.RECOVERING;
      recovering = true;
      endStrays(written);
      for (int attempt = 0; attempt < 40 && recovering; attempt++) {
        try {
          settle(written, Verdict.of(written, this));
          recovering = false;
        } catch (HyperFreshException | LinkageError e) {
          trace("not taken back: " + e.getMessage());
          advance(SECOND);
        }
      }
    }

    private void endStrays(GuestFile written) {
      for (Actor process : living()) {
        boolean known =
            process.generation() == written.running().generation()
                || written
                    .waiting()
                    .filter(w -> w.generation() == process.generation())
                    .isPresent();
        if (!known) {
          trace("generation " + process.generation() + " is a stray");
          if (process.isLive() && process.epoch == epoch) {
            throw broken("generation " + process.generation() + " has the guest and is a stray");
          }
          Contained.run("ending a stray", process::kill);
        }
      }
    }

    private void settle(GuestFile written, Verdict verdict) {
      switch (verdict) {
        case Verdict.Ended _ -> {
          file = null;
          state = GuestView.State.STOPPED;
        }
        case Verdict.Kept kept -> {
          Actor survivor = actor(kept.authority());
          survivor.attach(
              this,
              event -> {
                mailbox.add(event);
                settleIfIdle();
              });
          step("taking back");
          state = GuestView.State.RUNNING;
          try {
            hosting.takeBack(
                survivor,
                kept.targetIsGone(),
                kept.targetRan(),
                written.doubt().filter(_ -> !kept.finishes()));
          } catch (HyperFreshException | LinkageError e) {
            state = GuestView.State.RECOVERING;
            hosting.letGo();
            throw e;
          }
        }
      }
    }

    /// The guest has one thread: what is reported while it works is looked at when it has ended.
    private void settleIfIdle() {
      if (!busy && !recovering && hosting.instance() != null) {
        working(() -> "");
      }
    }

    private String working(Supplier<String> work) {
      busy = true;
      try {
        String outcome = work.get();
        while (!mailbox.isEmpty()) {
          hosting.settle();
        }
        return outcome;
      } finally {
        busy = false;
      }
    }

    String replace() {
      if (hosting.instance() == null || recovering) {
        return "no guest";
      }
      // As the plan does.
      if (hosting.hindrance().isPresent()) {
        return "refused";
      }
      RunState stands = ((Actor) hosting.instance()).state;
      if (!stands.isLive()) {
        return "refused";
      }
      try {
        return new Replacement(
                "sim", this, next, BUDGET, SimulatedWorld.this, () -> {}, Progress.NONE)
            .run()
            .outcome();
      } catch (HyperFreshException e) {
        return e.problem().code();
      }
    }

    String resume() {
      Instance current = hosting.instance();
      if (current == null || recovering) {
        return "no guest";
      }
      operatorInsists = hosting.doubt().isPresent();
      try {
        hosting.resume(current);
        return "resumed";
      } catch (HyperFreshException e) {
        return e.problem().code();
      } catch (LinkageError e) {
        return "HF-INTERNAL";
      } finally {
        operatorInsists = false;
      }
    }

    // ---- Remains ----

    @Override
    public boolean lives(GuestFile.Tenant tenant) {
      return actor(tenant).alive;
    }

    @Override
    public void goOn(GuestFile.Tenant tenant) {
      actor(tenant).thaw();
    }

    @Override
    public Instance attach(GuestFile.Tenant tenant, InstanceEvents events) {
      Actor process = actor(tenant);
      process.attach(this, events);
      process.called("attach", Problem.GUEST_STATE);
      return process;
    }

    @Override
    public void end(GuestFile.Tenant tenant) {
      actor(tenant).kill();
    }

    @Override
    public void await(Verdict.Heard heard, Duration limit) {
      long deadline = now + limit.toNanos();
      while (!heard.over() && !agenda.isEmpty() && agenda.peek().at() <= deadline) {
        runNext();
      }
      if (!heard.over()) {
        now = Math.max(now, deadline);
      }
    }

    // ---- Home ----

    @Override
    public void write(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
      step("write down");
      if (diskFull) {
        throw Problem.DAEMON_STATE.because("No space left on device.");
      }
      file = SimulatedWorld.this.file(running, waiting, doubt);
    }

    @Override
    public void targetGone() {
      ports.drop();
    }

    @Override
    public void gone(String why) {
      step("write down that it is gone");
      if (processes.stream().anyMatch(Actor::isLive)) {
        throw broken("the guest is forgotten, and a process has it");
      }
      file = null;
    }

    @Override
    public String name() {
      return "sim";
    }

    @Override
    public Optional<Boolean> hasRun(int which) {
      step("hasRun");
      return logged(which);
    }

    @Override
    public Queue<InstanceEvent> mailbox() {
      return mailbox;
    }

    @Override
    public void publish(GuestView.State next, String detail) {
      trace("the guest is " + next + (detail.isEmpty() ? "" : ": " + detail));
      state = next;
    }

    // ---- Movable ----

    @Override
    public GuestSpec spec() {
      return SPEC;
    }

    @Override
    public Kinds kinds() {
      return new Kinds(new SimulatedHypervisor(this));
    }

    @Override
    public AcceleratorChoice accelerator() {
      return TCG;
    }

    @Override
    public Endpoints endpoints() {
      return ports;
    }

    @Override
    public Instance running() {
      Instance current = hosting.instance();
      if (current == null) {
        throw Problem.GUEST_STATE.because("The guest is stopped.");
      }
      return current;
    }

    @Override
    public int nextGeneration() {
      return generation + 1;
    }

    Launch launch(Release release) {
      return launch(release, List.of());
    }

    @Override
    public Launch launch(Release release, List<Fd> queues) {
      generation++;
      return new Launch(
          SPEC,
          release,
          Accelerator.TCG,
          MEMORY,
          queues,
          Path.of("/nowhere"),
          Path.of("/nowhere"),
          generation,
          event -> {
            mailbox.add(event);
            settleIfIdle();
          });
    }

    @Override
    public void heard(List<InstanceEvent> events) {
      hosting.heard(events);
    }

    @Override
    public @Nullable InstanceEvent await(long nanos) {
      step("await");
      long deadline = now + nanos;
      while (mailbox.isEmpty() && !agenda.isEmpty() && agenda.peek().at() <= deadline) {
        runNext();
      }
      if (mailbox.isEmpty()) {
        now = Math.max(now, deadline);
      }
      return mailbox.poll();
    }

    @Override
    public Optional<Pulse.Watch> observe() {
      return Optional.empty();
    }

    @Override
    public void writeDown(Optional<Instance> waiting) {
      hosting.write(waiting);
    }

    @Override
    public void stood(OptionalLong stopped, OptionalLong resumed) {
      if (stopped.isPresent()
          && resumed.isPresent()
          && resumed.getAsLong() == resumedMicros
          && stopped.getAsLong() != stoppedMicros) {
        throw broken("the clocks are said to have stopped at " + stopped);
      }
    }

    @Override
    public void adopt(Instance adopted) {
      hosting.adopt(adopted);
    }

    @Override
    public void goOn() {
      hosting.goOn();
    }

    @Override
    public void stand(String why, Optional<Instance> target) {
      hosting.stand(why, target);
    }

    @Override
    public void stayInDoubt(String why) {
      hosting.stayInDoubt(why);
    }

    @Override
    public void carryOut(InstanceEvent asked) {
      hosting.carryOut(asked);
    }

    @Override
    public void giveUp(String detail) {
      hosting.giveUp(detail);
    }
  }

  private final class SimulatedHypervisor extends PartialHypervisor {
    private final Life of;

    SimulatedHypervisor(Life of) {
      this.of = of;
    }

    @Override
    public String kind() {
      return KIND;
    }

    @Override
    public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
      return List.of();
    }

    @Override
    public void pin(Launch launch) {}

    @Override
    public Instance start(Launch launch) {
      throw new UnsupportedOperationException("the guest runs already");
    }

    @Override
    public Instance startWaiting(Launch launch) {
      step("startWaiting");
      if (callFails) {
        callFails = false;
        throw Problem.REPLACE_PREPARE.because("It does not start.");
      }
      Actor process = new Actor(launch, RunState.AWAITING);
      process.attach(of, launch.events());
      advance(latency());
      return process;
    }
  }

  /// One hypervisor: what it does by itself, and a daemon's connection to it.
  private final class Actor implements Instance {
    private final Launch launch;
    private final Queue<Runnable> backlog = new ArrayDeque<>();
    private final Queue<InstanceEvent> unread = new ArrayDeque<>();
    private @Nullable Life owner;
    private @Nullable InstanceEvents listener;
    private boolean alive = true;
    private RunState state;
    private RunState before = RunState.RUNNING;
    private boolean frozen;
    private boolean hung;
    private boolean undead;
    private boolean killed;
    private boolean condemned;
    private boolean cancelled;
    private boolean channelCut;
    private boolean controlLost;
    private boolean expecting;
    private boolean loading;
    private boolean wantsToAnswer;
    private boolean hasRun;
    private boolean stoppedByItself;
    private int epoch;

    /// Hand-overs that it was told to make; answers come in order, so an earlier one is over.
    private int orders;

    Actor(Launch launch, RunState state) {
      this.launch = launch;
      this.state = state;
      this.hasRun = state == RunState.RUNNING;
      this.expecting = state == RunState.AWAITING;
      this.epoch = hasRun ? SimulatedWorld.this.epoch : 0;
      processes.add(this);
    }

    // ---- connections ----

    void attach(Life daemon, InstanceEvents events) {
      owner = daemon;
      listener = events;
      unread.clear();
      controlLost = false;
    }

    void forget(Life daemon) {
      if (owner == daemon) {
        owner = null;
        listener = null;
        unread.clear();
        wantsToAnswer = false;
      }
    }

    /// What it reported and will report is lost, until the daemon has connected again.
    void loseControl() {
      if (!alive || owner == null) {
        return;
      }
      controlLost = true;
      offUnheard |= unread.stream().anyMatch(InstanceEvent.PoweredOff.class::isInstance);
      unread.clear();
      later(random.nextLong(3 * SECOND), this::reconnect);
    }

    private void reconnect() {
      if (!alive || owner == null || !controlLost) {
        return;
      }
      if (stands()) {
        later(SECOND, this::reconnect);
        return;
      }
      trace("generation " + generation() + " is connected again");
      controlLost = false;
      if (expecting && state != RunState.AWAITING) {
        expecting = false;
        tell(new InstanceEvent.Resumed(generation(), OptionalLong.empty()));
      }
      if (state == RunState.RUNNING && cancelled) {
        tell(new InstanceEvent.HandOverFailed(generation(), "the migration is failed"));
      }
      tell(new InstanceEvent.Answering(generation()));
    }

    /// Reports of one process arrive in order, and some time after they were written.
    private void tell(InstanceEvent event) {
      if (listener == null || (controlLost && !(event instanceof InstanceEvent.Ended))) {
        return;
      }
      trace("generation " + generation() + " reports " + event.getClass().getSimpleName());
      unread.add(event);
      later(random.nextLong(3 * MILLI), this::deliverOne);
    }

    private void deliverOne() {
      InstanceEvents to = listener;
      if (!unread.isEmpty() && to != null) {
        InstanceEvent event = unread.remove();
        expecting &= !(event instanceof InstanceEvent.Resumed);
        to.on(event);
      }
    }

    private void deliverAll() {
      while (!unread.isEmpty() && listener != null) {
        deliverOne();
      }
    }

    // ---- the process ----

    boolean isLive() {
      return alive && state.isLive();
    }

    boolean executes() {
      return isLive() && !hung && !undead && (!frozen || defect == Defect.FREEZE_LIES);
    }

    private boolean stands() {
      return hung || undead || (frozen && defect != Defect.FREEZE_LIES);
    }

    /// Does `action` by itself after a while; not before it may run again, and never when dead.
    private void soon(long nanos, Runnable action) {
      later(
          nanos,
          () -> {
            if (alive && stands()) {
              backlog.add(action);
            } else if (alive && (!condemned || defect == Defect.FREEZE_LIES)) {
              action.run();
            }
          });
    }

    private void goOnByItself() {
      while (alive && !condemned && !stands() && !backlog.isEmpty()) {
        backlog.remove().run();
      }
    }

    void die(String reason) {
      if (!alive) {
        return;
      }
      trace("generation " + generation() + " dies: " + reason);
      alive = false;
      boolean held =
          processes.stream()
              .anyMatch(other ->
                  other.alive
                      && (other.epoch == SimulatedWorld.this.epoch
                          || (other.loading && !other.condemned)));
      if (!held) {
        stateWasLost = true;
      }
      tell(new InstanceEvent.Ended(generation(), reason));
    }

    void hang() {
      hung = true;
    }

    void hangFor(long nanos) {
      hung = true;
      later(
          nanos,
          () -> {
            hung = false;
            goOnByItself();
            if (wantsToAnswer && alive) {
              wantsToAnswer = false;
              tell(new InstanceEvent.Answering(generation()));
            }
          });
    }

    void becomeUndead() {
      undead = true;
    }

    // ---- the guest ----

    void powerOffByItself() {
      if (!executes()) {
        return;
      }
      guestIsOff = true;
      later(
          latency(),
          () -> {
            offUnheard |= !alive || stands() || listener == null || controlLost;
            if (alive) {
              tell(new InstanceEvent.PoweredOff(generation()));
              soon(3 * MILLI + latency(), () -> die("the guest powered off"));
            }
          });
    }

    void resetByItself() {
      if (executes()) {
        tell(new InstanceEvent.Reset(generation()));
      }
    }

    void sleepByItself() {
      if (executes()) {
        state = RunState.SUSPENDED;
        tell(new InstanceEvent.Changed(generation()));
      }
    }

    void stopForItsDisk() {
      if (executes()) {
        state = RunState.IO_ERROR;
        stoppedByItself = true;
        tell(new InstanceEvent.Stopped(generation(), now / MICRO));
      }
    }

    /// A call of the daemon: takes a while, and may fail.
    private void called(String call, Problem problem) {
      step(generation() + "." + call);
      if (callFails) {
        callFails = false;
        throw problem.because("It fails.");
      }
      if (errorThrown) {
        errorThrown = false;
        throw new NoClassDefFoundError("simulated");
      }
      advance(latency());
      if (!alive) {
        throw problem.because("The process has ended.");
      }
      if (controlLost) {
        throw problem.because("The control channel is broken.");
      }
      if (stands() || answerLost) {
        answerLost = false;
        advance(PATIENCE);
        throw problem.because("No answer.");
      }
    }

    @Override
    public int generation() {
      return launch.generation();
    }

    @Override
    public Release release() {
      return launch.release();
    }

    @Override
    public int pid() {
      return 1000 + generation();
    }

    @Override
    public Path console() {
      return Path.of("/nowhere");
    }

    @Override
    public void expect(Fd channel) {
      called("expect", Problem.REPLACE_PREPARE);
    }

    @Override
    public void connect(Fd channel) {
      called("connect", Problem.REPLACE_PREPARE);
    }

    @Override
    public void handOver() {
      step(generation() + ".handOver");
      cancelled = false;
      if (!alive || controlLost) {
        throw Problem.REPLACE_SWITCH.because("The control channel is broken.");
      }
      if (callFails) {
        callFails = false;
        throw Problem.REPLACE_SWITCH.because("It fails.");
      }
      if (errorThrown) {
        errorThrown = false;
        throw new NoClassDefFoundError("simulated");
      }
      if (answerLost) {
        // The order itself never arrives.
        answerLost = false;
        return;
      }
      int order = ++orders;
      Actor target = processes.getLast();
      soon(latency(), () -> beginToSend(order, target));
    }

    private void beginToSend(int order, Actor target) {
      if (cancelled || order != orders) {
        return;
      }
      before = state;
      boolean live = state.isLive();
      state = RunState.SENDING;
      if (live) {
        stoppedMicros = now / MICRO;
        tell(new InstanceEvent.Stopped(generation(), stoppedMicros));
      }
      soon(latency(), () -> send(order, target));
    }

    private void send(int order, Actor target) {
      if (cancelled || order != orders) {
        return;
      }
      if (channelCut || !target.alive) {
        cancelled = true;
        state = before;
        tell(new InstanceEvent.HandOverFailed(generation(), "the channel broke"));
        target.soon(latency(), target::refuse);
        return;
      }
      state = RunState.SENT;
      target.loading = true;
      tell(new InstanceEvent.HandOverSent(generation(), now / MICRO));
      target.soon(
          latency() + (targetIsSlow ? random.nextLong(3 * SECOND) : 0),
          targetRefuses ? target::refuse : () -> target.resumeGuest(before));
    }

    private void refuse() {
      loading = false;
      tell(new InstanceEvent.HandOverFailed(generation(), "refused"));
      later(latency(), () -> die("it exits"));
    }

    /// One that got the state of a guest which stood has it stand too, and reports nothing.
    private void resumeGuest(RunState as) {
      loading = false;
      state = as;
      if (!as.isLive()) {
        epoch = SimulatedWorld.this.epoch;
        stoppedByItself = true;
        return;
      }
      hasRun = true;
      epoch = ++SimulatedWorld.this.epoch;
      resumedMicros = now / MICRO;
      tell(new InstanceEvent.Resumed(generation(), resumedMicros));
    }

    @Override
    public void freeze() {
      step(generation() + ".freeze");
      if (freezeFails || undead) {
        throw Problem.REPLACE_SWITCH.because("A thread goes on.");
      }
      advance(random.nextLong(3 * MILLI));
      frozen = true;
      deliverAll();
      if (controlLost) {
        throw Problem.REPLACE_SWITCH.because("Some of its reports may not have come.");
      }
    }

    @Override
    public void thaw() {
      step(generation() + ".thaw");
      frozen = false;
      goOnByItself();
    }

    @Override
    public void condemn() {
      // The decision was the last look at the source, which nothing can come between here.
      condemned = true;
      step(generation() + ".condemn");
      later(latency(), () -> die("killed"));
    }

    @Override
    public void takeBack() {
      answered("takeBack");
      cancelled = true;
      if (state.afterRollBack() == RunState.AfterRollBack.CONTINUE) {
        goesOn();
      }
    }

    @Override
    public void resume() {
      answered("resume");
      goesOn();
    }

    private void goesOn() {
      if (state.isLive()) {
        return;
      }
      if (operatorInsists) {
        epoch = ++SimulatedWorld.this.epoch;
      }
      state = state.hasSent() && before.isLive() ? before : RunState.RUNNING;
      stoppedByItself = false;
      hasRun = true;
      tell(new InstanceEvent.Resumed(generation(), now / MICRO));
    }

    @Override
    public void wake() {
      called("wake", Problem.GUEST_STATE);
      if (state == RunState.SUSPENDED) {
        state = RunState.RUNNING;
      }
    }

    @Override
    public void reset() {
      called("reset", Problem.GUEST_STATE);
    }

    private void answered(String call) {
      step(generation() + "." + call);
      advance(random.nextLong(3 * MILLI));
      if (!alive) {
        throw Problem.REPLACE_LOST.because("The process has ended.");
      }
      if (controlLost) {
        throw Problem.REPLACE_STANDS.because("The control channel is broken.");
      }
      if (stands() || answerLost) {
        boolean later = answerLost;
        answerLost = false;
        advance(PATIENCE);
        wantsToAnswer = true;
        if (later || !stands()) {
          wantsToAnswer = false;
          tell(new InstanceEvent.Answering(generation()));
        }
        throw Problem.REPLACE_STANDS.because("No answer.");
      }
    }

    @Override
    public long populate() {
      called("populate", Problem.INTERNAL);
      return 0;
    }

    @Override
    public OptionalLong pageFaults() {
      return OptionalLong.empty();
    }

    @Override
    public Check rehearse(Release to, boolean anew, Consumer<String> begins) {
      throw new UnsupportedOperationException("the plan is not simulated");
    }

    @Override
    public List<Check> checks() {
      return List.of();
    }

    @Override
    public boolean sharesMemory() {
      return true;
    }

    @Override
    public String lastWords() {
      return "";
    }

    @Override
    public RunState runState() {
      called("runState", Problem.GUEST_STATE);
      return defect == Defect.DOUBT_FORGOTTEN && state.hasSent() ? RunState.PAUSED : state;
    }

    @Override
    public OptionalLong ramBytesCopied() {
      called("ramBytesCopied", Problem.INTERNAL);
      return OptionalLong.of(0);
    }

    @Override
    public long stateBytes() {
      return 4711;
    }

    @Override
    public boolean ended() {
      return !alive;
    }

    @Override
    public void powerOff() {}

    @Override
    public void end(Duration limit) {
      step(generation() + ".end");
      advance(latency());
      if (defect == Defect.END_LIES) {
        state = RunState.RUNNING;
        return;
      }
      kill();
    }

    @Override
    public void kill() {
      step(generation() + ".kill");
      if (undead) {
        if (!killed) {
          killed = true;
          later(random.nextLong(80 * SECOND), () -> die("killed long ago"));
        }
        advance(30 * SECOND);
        if (alive) {
          throw Problem.INTERNAL.because("It does not die.");
        }
      }
      advance(random.nextLong(5 * MILLI));
      die("killed");
      deliverAll();
    }

    @Override
    public void close() {
      step(generation() + ".close");
      if (owner == life && alive) {
        // The guest's hosting may still wait for its end.
        trace("generation " + generation() + " is let go of");
      }
    }
  }
}
