package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// One guest, its hypervisors and their host in virtual time, all on one thread and decided by one
/// seed: how long everything takes, in which order the reports of two hypervisors arrive, what goes
/// wrong and when. What is replaced in it is driven by the real [Replacement].
///
/// Every call of an instance, every wait and every event is a step. One fault happens at the step
/// that the seed chose. After every step the invariants are checked; a world that breaks one ends
/// with an `AssertionError` that names the seed.
final class SimulatedWorld implements Surroundings {
  /// What goes wrong.
  enum Fault {
    NONE,
    SOURCE_KILLED,
    SOURCE_HANGS,
    SOURCE_HANGS_FOR_A_WHILE,
    TARGET_KILLED,
    TARGET_HANGS,
    TARGET_HANGS_FOR_A_WHILE,
    TARGET_REFUSES,
    TARGET_IS_SLOW,
    CHANNEL_CUT,
    CALL_FAILS,
    ANSWER_LOST,
    FREEZE_FAILS,
    DISK_FULL,
    DAEMON_KILLED
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
    END_LIES
  }

  static final Stage.Build OLD = new Stage.Build("simulated-1", "simulated");
  static final Stage.Build NEW = new Stage.Build("simulated-2", "simulated");

  private static final long MICRO = 1_000;
  private static final long MILLI = 1_000_000;
  private static final long SECOND = 1_000_000_000;
  private static final long PATIENCE = 2 * SECOND;
  private static final Duration BUDGET = Duration.ofSeconds(1);
  private static final MemFd MEMORY = MemFd.create("simulated", 16 << 20);
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
  final Fault fault;
  private final Defect defect;
  private final SplittableRandom random;
  private final boolean tracing;
  private final List<String> trace = new ArrayList<>();
  private final PriorityQueue<Task> agenda =
      new PriorityQueue<>(Comparator.comparingLong(Task::at).thenComparingLong(Task::order));
  private final Queue<InstanceEvent> mailbox = new ArrayDeque<>();
  private final List<Actor> processes = new ArrayList<>();
  private final List<String> journal = new ArrayList<>();
  private final SimulatedPorts ports = new SimulatedPorts();
  private final SimulatedGuest guest = new SimulatedGuest();
  private final int faultStep;

  private long now = SECOND;
  private long order;
  private int step;
  private String happenedIn = "";
  private int raised;
  private boolean daemonLives = true;
  private boolean over;

  /// The state of the guest's vCPUs counts up with each process that ran it.
  private int epoch = 1;

  private boolean stateWasLost;
  private boolean callFails;
  private boolean answerLost;
  private boolean freezeFails;
  private boolean diskFull;

  SimulatedWorld(long seed, Defect defect, boolean tracing) {
    this.seed = seed;
    this.defect = defect;
    this.tracing = tracing;
    this.random = new SplittableRandom(seed);
    Fault[] all = Fault.values();
    this.fault = all[random.nextInt(all.length)];
    this.faultStep = 1 + random.nextInt(25);
    Actor first = new Actor(guest.launch(OLD, List.of()), true);
    guest.instance = first;
  }

  /// Runs one replacement to its end, and the world for a while after it.
  ///
  /// @return the outcome of the record, or what happened instead
  String run() {
    String outcome;
    try {
      outcome =
          new Replacement("sim", guest, NEW, BUDGET, this, () -> {}, Progress.NONE).run().outcome();
    } catch (HyperFreshException e) {
      outcome = e.problem().code();
    } catch (DaemonKilled e) {
      outcome = "daemon killed";
    }
    trace("outcome " + outcome);
    over = true;
    callFails = false;
    answerLost = false;
    advance(20 * SECOND);
    checkEnd(outcome);
    return outcome;
  }

  /// In which state of the replacement the fault came, or empty when it did not.
  String happenedIn() {
    return happenedIn;
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
            + fault
            + " at step "
            + faultStep
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

  /// A step of the replacement: the chosen fault may happen before it.
  private void step(String what) {
    trace(what);
    if (!over && ++step == faultStep) {
      strike();
    }
  }

  private void strike() {
    happenedIn = journal.isEmpty() ? "Planned" : journal.getLast();
    trace("FAULT " + fault);
    Actor source = processes.getFirst();
    Actor target = processes.getLast();
    boolean both = processes.size() > 1;
    switch (fault) {
      case NONE, TARGET_REFUSES, TARGET_IS_SLOW -> {}
      case SOURCE_KILLED -> source.die("killed");
      case SOURCE_HANGS -> source.hang();
      case SOURCE_HANGS_FOR_A_WHILE -> source.hangFor(random.nextLong(4 * SECOND));
      case TARGET_KILLED -> {
        if (both) {
          target.die("killed");
        }
      }
      case TARGET_HANGS -> {
        if (both) {
          target.hang();
        }
      }
      case TARGET_HANGS_FOR_A_WHILE -> {
        if (both) {
          target.hangFor(random.nextLong(4 * SECOND));
        }
      }
      case CHANNEL_CUT -> source.cutChannel();
      case CALL_FAILS -> callFails = true;
      case ANSWER_LOST -> answerLost = true;
      case FREEZE_FAILS -> freezeFails = true;
      case DISK_FULL -> diskFull = true;
      case DAEMON_KILLED -> {
        daemonLives = false;
        throw new DaemonKilled();
      }
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

  private void checkEnd(String outcome) {
    if (outcome.equals("daemon killed")) {
      checkWithoutDaemon();
      return;
    }
    List<Actor> living = processes.stream().filter(process -> process.alive).toList();
    if (raised != 0) {
      throw broken("priority was raised " + raised + " times more than it was lowered");
    }
    if (guest.state == GuestView.State.REPLACING) {
      throw broken("the guest is still being replaced");
    }
    if (living.size() > 1) {
      throw broken(living.size() + " processes are left");
    }
    if (living.isEmpty()) {
      if (!stateWasLost) {
        throw broken("the guest was lost, and no process died that alone held its state");
      }
      return;
    }
    Actor left = living.getFirst();
    if (guest.instance != left) {
      throw broken("generation " + left.generation() + " lives and is not the guest's instance");
    }
    boolean committed = outcome.equals("committed");
    if (committed != (left.generation() == 2)) {
      throw broken(outcome + ", and generation " + left.generation() + " is left");
    }
    if (!left.hung && !left.executes()) {
      throw broken("generation " + left.generation() + " is left and does not run the guest");
    }
    if (ports.side != (committed ? 2 : 1)) {
      throw broken("packets go to side " + ports.side);
    }
    if (ports.spare) {
      throw broken("a spare port is left");
    }
    if (!journal.isEmpty() && !diskFull && !isEnd(journal.getLast())) {
      throw broken("the journal ends with " + journal.getLast());
    }
  }

  private static boolean isEnd(String state) {
    return state.equals("Retired") || state.equals("RolledBack") || state.equals("Failed");
  }

  /// Hypervisors finish by themselves what they were told to do. Nothing that the dead daemon did
  /// may keep the guest from being run by the one or the other.
  private void checkWithoutDaemon() {
    boolean held = processes.stream().anyMatch(process -> process.alive && process.epoch == epoch);
    if (!held && !stateWasLost) {
      throw broken("no process that lives holds the guest's state");
    }
  }

  // ---- the journal and priorities ----

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

  /// Which side gets the packets.
  private final class SimulatedPorts extends Endpoints {
    private int side = 1;
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
    void switchOver() {
      side = 2;
    }

    @Override
    void switchBack() {
      side = 1;
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

  /// The guest as the replacement sees it.
  private final class SimulatedGuest implements Movable {
    private GuestView.State state = GuestView.State.RUNNING;
    private @Nullable Actor instance;
    private int generation;
    private boolean standing;

    @Override
    public GuestSpec spec() {
      return SPEC;
    }

    @Override
    public Hypervisor hypervisor() {
      return new SimulatedHypervisor();
    }

    @Override
    public AcceleratorChoice accelerator() {
      return new AcceleratorChoice(Accelerator.TCG, "simulated");
    }

    @Override
    public Endpoints endpoints() {
      return ports;
    }

    @Override
    public Instance running() {
      Actor current = instance;
      if (current == null) {
        throw Problem.GUEST_STATE.because("The guest is stopped.");
      }
      return current;
    }

    @Override
    public int nextGeneration() {
      return generation + 1;
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
          mailbox::add);
    }

    @Override
    public Queue<InstanceEvent> mailbox() {
      return mailbox;
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
      step("write down");
      if (diskFull) {
        throw Problem.DAEMON_STATE.because("No space left on device.");
      }
    }

    @Override
    public void publish(GuestView.State next, String detail) {
      state = next;
    }

    @Override
    public void adopt(Instance next) {
      instance = (Actor) next;
    }

    @Override
    public void goOn() {
      state = GuestView.State.RUNNING;
      settle();
    }

    @Override
    public void stand(String why) {
      state = GuestView.State.RUNNING;
      standing = true;
      settle();
    }

    @Override
    public void giveUp(String detail) {
      Actor current = instance;
      if (current != null) {
        current.kill();
        current.close();
      }
      instance = null;
      state = GuestView.State.STOPPED;
    }

    /// As [Guest] does outside of a replacement.
    private void settle() {
      while (!mailbox.isEmpty()) {
        InstanceEvent event = mailbox.remove();
        Actor current = instance;
        if (current == null || event.generation() != current.generation()) {
          continue;
        }
        if (event instanceof InstanceEvent.Ended ended) {
          giveUp(ended.reason());
        } else if (event instanceof InstanceEvent.Answering && standing) {
          standing = false;
          current.takeBack();
        }
      }
    }
  }

  private final class SimulatedHypervisor implements Hypervisor {
    @Override
    public String kind() {
      return NEW.kind();
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
      Actor process = new Actor(launch, false);
      advance(latency());
      return process;
    }

    @Override
    public Holdings holdings(Release release, GuestSpec guest, int pid, int nics) {
      throw new UnsupportedOperationException("one daemon's life is simulated");
    }

    @Override
    public Instance attach(Launch launch, int pid) {
      throw new UnsupportedOperationException("one daemon's life is simulated");
    }
  }

  /// One hypervisor: what it does by itself, and the daemon's connection to it.
  private final class Actor implements Instance {
    private final Launch launch;
    private final Queue<Runnable> backlog = new ArrayDeque<>();
    private final Queue<InstanceEvent> unread = new ArrayDeque<>();
    private boolean alive = true;
    private boolean running;
    private boolean frozen;
    private boolean hung;
    private boolean condemned;
    private boolean cancelled;
    private boolean channelCut;
    private boolean loading;
    private boolean wantsToAnswer;
    private int epoch;

    Actor(Launch launch, boolean running) {
      this.launch = launch;
      this.running = running;
      this.epoch = running ? SimulatedWorld.this.epoch : 0;
      processes.add(this);
    }

    boolean executes() {
      return alive && running && !hung && (!frozen || defect == Defect.FREEZE_LIES);
    }

    private boolean stands() {
      return hung || (frozen && defect != Defect.FREEZE_LIES);
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

    private void goOn() {
      while (alive && !condemned && !stands() && !backlog.isEmpty()) {
        backlog.remove().run();
      }
    }

    /// Reports of one process arrive in order, and some time after they were written.
    private void tell(InstanceEvent event) {
      trace("generation " + generation() + " reports " + event.getClass().getSimpleName());
      unread.add(event);
      later(random.nextLong(3 * MILLI), this::deliverOne);
    }

    private void deliverOne() {
      if (!unread.isEmpty() && daemonLives) {
        mailbox.add(unread.remove());
        if (guest.state != GuestView.State.REPLACING) {
          guest.settle();
        }
      }
    }

    private void deliverAll() {
      while (!unread.isEmpty()) {
        deliverOne();
      }
    }

    void die(String reason) {
      if (!alive) {
        return;
      }
      trace("generation " + generation() + " dies: " + reason);
      alive = false;
      running = false;
      boolean last = epoch == SimulatedWorld.this.epoch;
      boolean sent =
          processes.stream()
              .anyMatch(other -> other != this && other.alive && other.loading && !other.condemned);
      if (last && !sent) {
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
            goOn();
            if (wantsToAnswer && alive) {
              wantsToAnswer = false;
              tell(new InstanceEvent.Answering(generation()));
            }
          });
    }

    void cutChannel() {
      channelCut = true;
    }

    /// A call of the daemon: takes a while, and may fail.
    private void called(String call, Problem problem) {
      step(generation() + "." + call);
      if (callFails) {
        callFails = false;
        throw problem.because("It fails.");
      }
      advance(latency());
      if (!alive) {
        throw problem.because("The control channel is closed.");
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
      if (!alive) {
        throw Problem.REPLACE_SWITCH.because("The control channel is closed.");
      }
      if (callFails) {
        callFails = false;
        throw Problem.REPLACE_SWITCH.because("It fails.");
      }
      if (answerLost) {
        // The order itself never arrives.
        answerLost = false;
        return;
      }
      soon(latency(), this::beginToSend);
    }

    private void beginToSend() {
      if (cancelled) {
        return;
      }
      running = false;
      tell(new InstanceEvent.Stopped(generation(), now / MICRO));
      soon(latency(), this::send);
    }

    private void send() {
      if (cancelled) {
        return;
      }
      Actor target = processes.getLast();
      if (channelCut || !target.alive || target == this) {
        cancelled = true;
        running = true;
        tell(new InstanceEvent.HandOverFailed(generation(), "the channel broke"));
        if (target != this) {
          target.soon(latency(), target::refuse);
        }
        return;
      }
      target.loading = true;
      tell(new InstanceEvent.HandOverSent(generation(), now / MICRO));
      target.soon(
          latency() + (fault == Fault.TARGET_IS_SLOW ? random.nextLong(3 * SECOND) : 0),
          fault == Fault.TARGET_REFUSES ? target::refuse : target::resumeGuest);
    }

    private void refuse() {
      loading = false;
      tell(new InstanceEvent.HandOverFailed(generation(), "refused"));
      later(latency(), () -> die("it exits"));
    }

    private void resumeGuest() {
      loading = false;
      running = true;
      epoch = ++SimulatedWorld.this.epoch;
      tell(new InstanceEvent.Resumed(generation(), now / MICRO));
    }

    @Override
    public void freeze() {
      step(generation() + ".freeze");
      if (freezeFails) {
        throw Problem.REPLACE_SWITCH.because("A thread goes on.");
      }
      advance(random.nextLong(3 * MILLI));
      frozen = true;
      deliverAll();
    }

    @Override
    public void thaw() {
      step(generation() + ".thaw");
      frozen = false;
      goOn();
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
      if (!running) {
        running = true;
        tell(new InstanceEvent.Resumed(generation(), now / MICRO));
      }
    }

    private void answered(String call) {
      step(generation() + "." + call);
      advance(random.nextLong(3 * MILLI));
      if (!alive) {
        throw Problem.REPLACE_LOST.because("The process has ended.");
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
    public boolean runsGuest() {
      called("runsGuest", Problem.GUEST_STATE);
      return running;
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
      if (defect != Defect.END_LIES) {
        die("ended");
      } else {
        running = true;
      }
      deliverAll();
    }

    @Override
    public void kill() {
      step(generation() + ".kill");
      advance(random.nextLong(5 * MILLI));
      die("killed");
      deliverAll();
    }

    @Override
    public void close() {
      step(generation() + ".close");
    }
  }
}
