package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Hypervisor;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Tap;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.Lock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/// A guest: its memory, its network endpoints and the one instance that runs it.
///
/// All writes happen on the guest's own thread, `hf-guest-NAME`; other threads enqueue with [#call]
/// and read [#view]. Events of the instances wait in [#mailbox] for that thread.
final class Guest implements Movable {
  private static final Duration END_LIMIT = Duration.ofSeconds(5);

  /// Far more events than any honest hypervisor has waiting.
  private static final int MAILBOX_LIMIT = 10_000;

  private static final Duration MAX_PATIENCE = Duration.ofDays(1);

  private final GuestSpec spec;
  private final Hypervisor hypervisor;
  private final AcceleratorChoice accelerator;
  private final MemFd memory;
  private final Endpoints endpoints;

  /// How to build the machine again, when something else built it at first.
  private final Optional<AdoptedMachine> adopted;

  private final Path files;
  private final Path sockets;
  private final Instant createdAt;
  private final Confinement confinement;
  private final Pulse pulse;
  private final BlockingQueue<InstanceEvent> mailbox = new LinkedBlockingQueue<>();
  private final ExecutorService thread;
  private final Consumer<Guest> changed;
  private ClockLoss clockLoss;

  /// When the vCPUs stopped that stand now, if they do.
  private OptionalLong stoppedMicros = OptionalLong.empty();

  private final AtomicBoolean replacing = new AtomicBoolean();
  private final Hosting hosting;

  /// Whether the guest's thread is going to look at its mailbox anyway.
  private final AtomicBoolean settling = new AtomicBoolean();

  private int generation;
  private boolean deleted;
  private @Nullable Instant stoppedAt;
  private volatile GuestView view;

  Guest(
      GuestSpec spec,
      Hypervisor hypervisor,
      AcceleratorChoice accelerator,
      MemFd memory,
      List<Tap> taps,
      Path files,
      Path sockets,
      Instant createdAt,
      Confinement confinement,
      Consumer<Guest> changed) {
    this(
        spec,
        hypervisor,
        accelerator,
        memory,
        Endpoints.of(taps),
        Optional.empty(),
        files,
        sockets,
        createdAt,
        confinement,
        ClockLoss.NONE,
        changed);
  }

  Guest(
      GuestSpec spec,
      Hypervisor hypervisor,
      AcceleratorChoice accelerator,
      MemFd memory,
      Endpoints endpoints,
      Optional<AdoptedMachine> adopted,
      Path files,
      Path sockets,
      Instant createdAt,
      Confinement confinement,
      ClockLoss clockLoss,
      Consumer<Guest> changed) {
    this.spec = spec;
    this.hypervisor = hypervisor;
    this.accelerator = accelerator;
    this.memory = memory;
    this.endpoints = endpoints;
    this.adopted = adopted;
    this.files = files;
    this.sockets = sockets;
    this.createdAt = createdAt;
    this.confinement = confinement;
    this.clockLoss = clockLoss;
    this.changed = changed;
    this.pulse = new Pulse(memory);
    this.thread =
        Executors.newSingleThreadExecutor(
            Thread.ofPlatform().name("hf-guest-" + spec.name()).daemon().factory());
    this.hosting = new Hosting(new Home());
    this.view = view(GuestView.State.STARTING, "");
  }

  /// The guest as its hosting needs it.
  private final class Home implements Hosting.Home {
    @Override
    public void publish(GuestView.State state, String detail) {
      Guest.this.publish(state, detail);
    }

    @Override
    public void write(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
      new GuestFile(
              spec,
              accelerator,
              createdAt,
              confinement.user(),
              GuestFile.Tenant.of(running),
              waiting.map(GuestFile.Tenant::of),
              doubt,
              adopted,
              clockLoss,
              generation)
          .write(files);
    }

    @Override
    public void stood(InstanceEvent event) {
      switch (event) {
        case InstanceEvent.Stopped stop ->
            Guest.this.stood(OptionalLong.of(stop.atMicros()), OptionalLong.empty());
        case InstanceEvent.Resumed resumed -> stoodUntil(resumed.atMicros());
        default -> {}
      }
    }

    @Override
    public void targetGone() {
      endpoints.drop();
    }

    /// It stays listed under the next daemon too.
    @Override
    public void gone(String why) {
      Instant now = Instant.now();
      stoppedAt = now;
      GuestFile.read(files)
          .ifPresent(file -> file.stopped(new GuestFile.Stopped(now, why)).write(files));
    }

    @Override
    public Optional<Boolean> hasRun(int which) {
      return hypervisor.hasRun(files, which);
    }

    @Override
    public BlockingQueue<InstanceEvent> mailbox() {
      return mailbox;
    }

    @Override
    public String name() {
      return spec.name();
    }
  }

  @Override
  public GuestSpec spec() {
    return spec;
  }

  @Override
  public Hypervisor hypervisor() {
    return hypervisor;
  }

  @Override
  public AcceleratorChoice accelerator() {
    return accelerator;
  }

  MemFd memory() {
    return memory;
  }

  @Override
  public Endpoints endpoints() {
    return endpoints;
  }

  Path files() {
    return files;
  }

  Confinement confinement() {
    return confinement;
  }

  Pulse pulse() {
    return pulse;
  }

  @Override
  public BlockingQueue<InstanceEvent> mailbox() {
    return mailbox;
  }

  @Override
  public void heard(List<InstanceEvent> events) {
    hosting.heard(events);
  }

  @Override
  public @Nullable InstanceEvent await(long nanos) {
    try {
      return mailbox.poll(nanos, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    }
  }

  @Override
  public Optional<Pulse.Watch> observe() {
    return pulse.find() ? pulse.watch(spec.name()) : Optional.empty();
  }

  /// What every thread may know of the guest; a consistent copy.
  GuestView view() {
    return view;
  }

  /// Runs `work` on the guest's thread and waits for it, also when the caller is interrupted: who
  /// goes on while the work does could remove what it needs. The interrupt is kept.
  ///
  /// @throws HyperFreshException what `work` threw, or [Problem#GUEST_UNKNOWN] when the guest is
  ///   gone
  <T> T call(Callable<T> work) {
    boolean interrupted = false;
    try {
      Future<T> result = thread.submit(work);
      while (true) {
        try {
          return result.get();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    } catch (RejectedExecutionException e) {
      throw Problem.GUEST_UNKNOWN.because("Guest " + spec.name() + " was deleted.", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof HyperFreshException known) {
        throw known;
      }
      throw Problem.unexpected(e.getCause());
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /// Guest's thread: starts the first instance.
  void start(Release release) {
    Launch launch = launch(release, endpoints.queues());
    hypervisor.pin(launch);
    // If this daemon dies before it knows the process, the next one finds it by the guest's folder.
    new GuestFile(
            spec,
            accelerator,
            createdAt,
            confinement.user(),
            GuestFile.Tenant.expected(generation, release),
            Optional.empty(),
            Optional.empty(),
            adopted,
            clockLoss,
            generation)
        .write(files);
    hosting.adopt(hypervisor.start(launch));
    writeDown(Optional.empty());
    publish(GuestView.State.RUNNING, "");
  }

  /// Guest's thread: takes over the instance that an earlier daemon left, and has it go on where
  /// that is certain to be right.
  ///
  /// @param survivor what is left of the guest, and what is known of what is not
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer; nothing was changed
  void takeBack(
      Release release, Verdict.Kept survivor, Optional<String> doubt, int lastGeneration) {
    generation = survivor.authority().generation() - 1;
    Instance attached =
        hypervisor.attach(launch(release, endpoints.queues()), survivor.authority().pid());
    generation = lastGeneration;
    try {
      hosting.takeBack(attached, survivor.targetIsGone(), survivor.targetRan(), doubt);
    } catch (RuntimeException | Error e) {
      hosting.letGo();
      Contained.run("letting go of " + spec.name(), attached::close);
      throw e;
    }
  }

  /// Guest's thread: takes over the instance that something else started.
  void takeOver(Release release, int pid, String remarks) {
    Instance foreign = hypervisor.attach(launch(release, endpoints.queues()), pid);
    hosting.adopt(foreign);
    if (!foreign.runState().isLive()) {
      throw Problem.ADOPT_REFUSED.because("The guest does not run any more.");
    }
    writeDown(Optional.empty());
    publish(GuestView.State.RUNNING, remarks);
  }

  /// Guest's thread: lets go of an instance that could not be taken over; it goes on as it was.
  void leaveAlone() {
    Instance foreign = hosting.letGo();
    if (foreign != null) {
      foreign.close();
    }
    GuestFile.remove(files);
  }

  @Override
  public void writeDown(Optional<Instance> waiting) {
    hosting.write(waiting);
  }

  @Override
  public Optional<Boolean> hasRun(int which) {
    return hypervisor.hasRun(files, which);
  }

  /// Guest's thread: why it stands, when somebody may have run it since.
  Optional<String> doubt() {
    return hosting.doubt();
  }

  /// Guest's thread: as [Hosting#hindrance].
  Optional<String> hindrance() {
    return hosting.hindrance();
  }

  /// Guest's thread: what another daemon would need of the guest; still owned by this object.
  Hypervisor.Holdings holdings() {
    return new Hypervisor.Holdings(memory.fd(), endpoints.queues());
  }

  /// Any thread: moves the guest to `to`, unless another replacement of it is under way.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_BUSY], and as [Replacement#run] does
  ReplacementRecord replace(
      String id,
      Release to,
      Duration maxBlackout,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Lock turn,
      Surroundings world,
      Progress progress) {
    if (!replacing.compareAndSet(false, true)) {
      throw Problem.REPLACE_BUSY.because("Guest " + spec.name() + " is being moved already.");
    }
    return call(() -> {
      try {
        ReplacementRecord record =
            new Replacement(
                    id,
                    this,
                    to,
                    maxBlackout,
                    world,
                    new Preflight(this, to, rehearsing, turn, progress)::require,
                    progress)
                .run();
        return record.committed() && steps(stepClock)
            ? record.with(stepClock(record.clocks(), progress))
            : record;
      } finally {
        replacing.set(false);
      }
    });
  }

  /// Whether the wall clock is set after a replacement for which that was `asked` or not.
  private boolean steps(boolean asked) {
    return asked || spec.clock() == ClockPolicy.STEP;
  }

  /// The guest runs on its new hypervisor, whatever comes of this.
  private ReplacementRecord.Clocks stepClock(ReplacementRecord.Clocks clocks, Progress progress) {
    try {
      ClockStep step = running().stepClock();
      Contained.run(
          "telling of the clock of " + spec.name(),
          () ->
              progress.step(
                  "Clock",
                  String.format(
                      Locale.ROOT, "the wall clock was put forward by %.1f ms", step.millis())));
      return new ReplacementRecord.Clocks(
          clocks.lostMs(), OptionalDouble.of(step.millis()), step.remark());
    } catch (HyperFreshException e) {
      return new ReplacementRecord.Clocks(clocks.lostMs(), OptionalDouble.empty(), e.detail());
    } catch (RuntimeException e) {
      // The guest has moved, whatever becomes of its clock.
      return new ReplacementRecord.Clocks(
          clocks.lostMs(), OptionalDouble.empty(), String.valueOf(e));
    }
  }

  /// Any thread: what can be said before a replacement of setting the wall clock after it; empty
  /// when that is not to be done.
  Optional<Check> clockCheck(Instance running, boolean asked) {
    if (!steps(asked)) {
      return Optional.empty();
    }
    return Optional.of(
        running.hasAgent()
            ? Check.pass(
                "wall clock", "There is a channel to an agent in the guest that can set it.")
            : Check.unknown(
                "wall clock",
                "It cannot be set after the move: there is no channel to an agent in the guest.",
                "Move without --step-clock, or create the guest anew with agent: true."));
  }

  @Override
  public int nextGeneration() {
    return generation + 1;
  }

  @Override
  public Launch launch(Release release, List<Fd> queues) {
    generation++;
    return new Launch(
        spec,
        release,
        accelerator.accelerator(),
        memory,
        queues,
        files,
        sockets,
        generation,
        confinement,
        this::onEvent,
        adopted);
  }

  @Override
  public Instance running() {
    Instance current = hosting.instance();
    if (current == null || view.state() == GuestView.State.STOPPED) {
      throw Problem.GUEST_STATE.because(
          "Guest " + spec.name() + " is " + view.state().name().toLowerCase(Locale.ROOT) + ".");
    }
    return current;
  }

  @Override
  public void stood(OptionalLong stopped, OptionalLong resumed) {
    if (resumed.isEmpty()) {
      stoppedMicros = stopped;
      return;
    }
    clockLoss =
        stopped.isPresent()
            ? clockLoss.plus(resumed.getAsLong() - stopped.getAsLong())
            : clockLoss.plusUnmeasured();
    stoppedMicros = OptionalLong.empty();
  }

  @Override
  public void adopt(Instance next) {
    hosting.adopt(next);
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

  /// Guest's thread: as [Hosting#resume].
  void resume() {
    hosting.resume(running());
  }

  @Override
  public void publish(GuestView.State state, String detail) {
    view = view(state, detail);
    Contained.run("telling of guest " + spec.name(), () -> changed.accept(this));
  }

  private GuestView view(GuestView.State state, String detail) {
    Instance current = hosting.instance();
    return new GuestView(
        spec,
        state,
        detail,
        current == null ? hypervisor.kind() : current.release().kind(),
        current == null ? "" : current.release().name(),
        current == null ? 0 : current.pid(),
        generation,
        accelerator,
        createdAt,
        Optional.ofNullable(stoppedAt),
        current == null
            ? Optional.empty()
            : Optional.of(current.console()).filter(path -> !path.toString().isEmpty()),
        files,
        current == null ? "" : current.confinement(),
        adopted.isPresent() ? GuestView.Origin.ADOPTED : GuestView.Origin.CREATED,
        clockLoss);
  }

  /// A hypervisor that floods is its own guest's misfortune and not the daemon's: what comes beyond
  /// the limit is dropped, except its end.
  private void onEvent(InstanceEvent event) {
    boolean decides = event instanceof InstanceEvent.Resumed && mailbox.size() < 2 * MAILBOX_LIMIT;
    if (mailbox.size() >= MAILBOX_LIMIT && !decides && !(event instanceof InstanceEvent.Ended)) {
      return;
    }
    mailbox.add(event);
    if (!settling.compareAndSet(false, true)) {
      return;
    }
    try {
      thread.execute(this::settle);
    } catch (RejectedExecutionException e) {
      // The guest is being deleted, and nobody waits for its events any more.
      mailbox.clear();
    }
  }

  /// Guest's thread, outside a replacement: takes note of what happened by itself.
  private void settle() {
    settling.set(false);
    hosting.settle();
  }

  /// A RESUME whose STOP nobody saw was counted when its instance was taken over.
  private void stoodUntil(OptionalLong resumedMicros) {
    if (stoppedMicros.isPresent() && resumedMicros.isPresent()) {
      stood(stoppedMicros, resumedMicros);
      Contained.run("writing down " + spec.name(), () -> writeDown(Optional.empty()));
    }
  }

  /// Guest's thread: asks the guest to power off, and ends its instance if it cannot hear or does
  /// not within `patience`.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when the instance cannot be ended
  void stop(Duration patience) {
    Instance current = hosting.instance();
    if (current == null) {
      return;
    }
    if (patience.isPositive() && asked(current)) {
      awaitEnd(current, patience);
    }
    end();
  }

  /// Whether the guest was asked to power off and can hear it.
  private boolean asked(Instance current) {
    return Contained.get(
        "asking " + spec.name() + " to power off",
        () -> {
          RunState.Stop how = current.runState().stop();
          if (how == RunState.Stop.WAKE_AND_ASK) {
            current.wake();
          }
          if (how != RunState.Stop.END) {
            current.powerOff();
          }
          return how != RunState.Stop.END;
        },
        false);
  }

  private void awaitEnd(Instance current, Duration patience) {
    long nanos = patience.compareTo(MAX_PATIENCE) < 0 ? patience.toNanos() : MAX_PATIENCE.toNanos();
    long deadline = System.nanoTime() + nanos;
    try {
      InstanceEvent event;
      do {
        event = mailbox.poll(Math.max(0, deadline - System.nanoTime()), TimeUnit.NANOSECONDS);
        if (event instanceof InstanceEvent.Ended && event.generation() != current.generation()) {
          hosting.heard(List.of(event));
        }
      } while (event != null
          && !(event instanceof InstanceEvent.Ended && event.generation() == current.generation()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// Guest's thread: ends the instance, whatever it does.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when it cannot be ended
  void end() {
    Instance current = hosting.instance();
    if (current == null) {
      return;
    }
    if (!Contained.run("ending guest " + spec.name(), () -> current.end(END_LIMIT))) {
      current.kill();
    }
    hosting.release("stopped by request");
  }

  /// Any thread, last of all: ends the instance and returns memory and endpoints to the host. Does
  /// nothing the second time.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when the instance cannot be ended; nothing is
  ///   returned then
  synchronized void delete() {
    if (deleted) {
      return;
    }
    call(() -> {
      end();
      return true;
    });
    deleted = true;
    thread.shutdown();
    Contained.run("unmapping the memory of " + spec.name(), pulse::close);
    Contained.run("freeing the memory of " + spec.name(), memory::close);
    Contained.run("removing the ports of " + spec.name(), endpoints::close);
  }

  /// Any thread, last of all: lets go of the guest, which goes on without a daemon.
  synchronized void letGo() {
    if (deleted) {
      return;
    }
    deleted = true;
    call(() -> {
      // Its channel ends now and the guest does not, so nobody may take that for the guest's end.
      Instance current = hosting.letGo();
      if (current != null) {
        current.close();
      }
      return true;
    });
    thread.shutdown();
    Contained.run("unmapping the memory of " + spec.name(), pulse::close);
    Contained.run("letting go of the memory of " + spec.name(), memory::close);
    Contained.run("letting go of the ports of " + spec.name(), endpoints::close);
  }
}
