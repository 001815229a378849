package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
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

  private final GuestIdentity identity;
  private final Kinds kinds;
  private final MemFd memory;
  private final Endpoints endpoints;
  private final Pulse pulse;
  private final GuestThread thread;
  private final Consumer<Guest> changed;
  private final Standstill standstill;
  private final AtomicBoolean replacing = new AtomicBoolean();
  private final Hosting hosting;
  private final WallClock wallClock;

  private int generation;

  /// The kind of the instance that runs it or ran it last.
  private String kind;

  private boolean deleted;
  private @Nullable Instant stoppedAt;
  private volatile GuestView view;

  /// @param memory its memory; belongs to this object now, as the ports do
  /// @param lost what its clocks have lost under earlier daemons
  /// @param changed told whenever the view changed, on the guest's thread
  Guest(
      GuestIdentity identity,
      Kinds kinds,
      MemFd memory,
      Endpoints endpoints,
      ClockLoss lost,
      Consumer<Guest> changed) {
    this.identity = identity;
    this.kinds = kinds;
    this.kind = kinds.named("").kind();
    this.memory = memory;
    this.endpoints = endpoints;
    this.standstill = new Standstill(lost);
    this.changed = changed;
    this.pulse = new Pulse(memory);
    this.thread = new GuestThread(identity.name(), this::settle);
    this.hosting = new Hosting(new Home());
    this.wallClock = new WallClock(identity.spec());
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
      file(GuestFile.Tenant.of(running), waiting.map(GuestFile.Tenant::of), doubt)
          .write(identity.files());
    }

    @Override
    public void stood(InstanceEvent event) {
      if (standstill.heard(event)) {
        Contained.run("recording " + identity.name(), () -> writeDown(Optional.empty()));
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
      GuestFile.read(identity.files())
          .ifPresent(file -> file.stopped(new GuestFile.Stopped(now, why)).write(identity.files()));
    }

    @Override
    public Optional<Boolean> hasRun(int which) {
      return kinds.hasRun(identity.files(), which);
    }

    @Override
    public BlockingQueue<InstanceEvent> mailbox() {
      return thread.mailbox();
    }

    @Override
    public String name() {
      return identity.name();
    }
  }

  private GuestFile file(
      GuestFile.Tenant running, Optional<GuestFile.Tenant> waiting, Optional<String> doubt) {
    return identity.file(running, waiting, doubt, standstill.lost(), generation);
  }

  @Override
  public GuestSpec spec() {
    return identity.spec();
  }

  @Override
  public Kinds kinds() {
    return kinds;
  }

  @Override
  public AcceleratorChoice accelerator() {
    return identity.accelerator();
  }

  @Override
  public Endpoints endpoints() {
    return endpoints;
  }

  Path files() {
    return identity.files();
  }

  Confinement confinement() {
    return identity.confinement();
  }

  Pulse pulse() {
    return pulse;
  }

  @Override
  public BlockingQueue<InstanceEvent> mailbox() {
    return thread.mailbox();
  }

  @Override
  public void heard(List<InstanceEvent> events) {
    hosting.heard(events);
  }

  @Override
  public @Nullable InstanceEvent await(long nanos) {
    try {
      return thread.mailbox().poll(nanos, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return null;
    }
  }

  @Override
  public Optional<Pulse.Watch> observe() {
    return pulse.find() ? pulse.watch(identity.name()) : Optional.empty();
  }

  /// What every thread may know of the guest; a consistent copy.
  GuestView view() {
    return view;
  }

  /// As [GuestThread#call].
  <T> T call(Callable<T> work) {
    return thread.call(work);
  }

  /// Guest's thread: starts the first instance.
  void start(Release release) {
    Launch launch = launch(release, endpoints.queues());
    kinds.of(release).pin(launch);
    // If this daemon dies before it knows the process, the next one finds it by the guest's folder.
    file(GuestFile.Tenant.expected(generation, release), Optional.empty(), Optional.empty())
        .write(identity.files());
    hosting.adopt(kinds.of(release).start(launch));
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
        kinds.of(release).attach(launch(release, endpoints.queues()), survivor.authority().pid());
    generation = lastGeneration;
    try {
      hosting.takeBack(attached, survivor.targetIsGone(), survivor.targetRan(), doubt);
    } catch (RuntimeException | Error e) {
      hosting.letGo();
      Contained.run("releasing " + identity.name(), attached::close);
      throw e;
    }
  }

  /// Guest's thread: takes over the instance that something else started.
  void takeOver(Release release, int pid, String remarks) {
    Instance foreign = kinds.of(release).attach(launch(release, endpoints.queues()), pid);
    hosting.adopt(foreign);
    if (!foreign.runState().isLive()) {
      throw Problem.ADOPT_REFUSED.because("The guest no longer runs.");
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
    GuestFile.remove(identity.files());
  }

  @Override
  public void writeDown(Optional<Instance> waiting) {
    hosting.write(waiting);
  }

  @Override
  public Optional<Boolean> hasRun(int which) {
    return kinds.hasRun(identity.files(), which);
  }

  /// Guest's thread: why it stands, when somebody may have run it since.
  Optional<String> doubt() {
    return hosting.doubt();
  }

  /// What is done to its wall clock after a replacement.
  WallClock wallClock() {
    return wallClock;
  }

  /// Guest's thread: as [Hosting#hindrance].
  Optional<String> hindrance() {
    return hosting.hindrance();
  }

  /// Guest's thread: what another daemon would need of the guest; still owned by this object.
  Holdings holdings() {
    return new Holdings(memory.fd(), endpoints.queues());
  }

  /// Any thread: moves the guest to `to`, unless another replacement of it is under way.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_BUSY], and as [Replacement#run] does
  ReplacementRecord replace(
      String id,
      Release to,
      BlackoutLimit maxBlackout,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Lock turn,
      Surroundings world,
      Progress progress) {
    if (!replacing.compareAndSet(false, true)) {
      throw Problem.REPLACE_BUSY.because("Guest " + identity.name() + " is already being moved.");
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
        return record.committed() && wallClock.steps(stepClock)
            ? record.with(wallClock.step(this::running, record.clocks(), progress))
            : record;
      } finally {
        replacing.set(false);
      }
    });
  }

  @Override
  public int nextGeneration() {
    return generation + 1;
  }

  @Override
  public Launch launch(Release release, List<Fd> queues) {
    generation++;
    return new Launch(
        identity.spec(),
        release,
        identity.accelerator().accelerator(),
        memory,
        queues,
        identity.files(),
        identity.sockets(),
        generation,
        identity.confinement(),
        thread::post,
        identity.adopted());
  }

  @Override
  public Instance running() {
    Instance current = hosting.instance();
    if (current == null || view.state() == GuestView.State.STOPPED) {
      throw Problem.GUEST_STATE.because(
          "Guest " + identity.name() + " is " + view.state().name().toLowerCase(Locale.ROOT) + ".");
    }
    return current;
  }

  @Override
  public void stood(OptionalLong stopped, OptionalLong resumed) {
    standstill.stood(stopped, resumed);
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
    Contained.run("reporting guest " + identity.name(), () -> changed.accept(this));
  }

  private GuestView view(GuestView.State state, String detail) {
    Instance current = hosting.instance();
    if (current != null) {
      kind = current.release().kind();
    }
    return new GuestView(
        identity.spec(),
        state,
        detail,
        kind,
        current == null ? "" : current.release().name(),
        current == null ? 0 : current.pid(),
        generation,
        identity.accelerator(),
        identity.createdAt(),
        Optional.ofNullable(stoppedAt),
        current == null
            ? Optional.empty()
            : Optional.of(current.console()).filter(path -> !path.toString().isEmpty()),
        identity.files(),
        current == null ? "" : current.confinement(),
        identity.adopted().isPresent() ? GuestView.Origin.ADOPTED : GuestView.Origin.CREATED,
        standstill.lost());
  }

  /// Guest's thread, outside a replacement: takes note of what happened by itself.
  private void settle() {
    hosting.settle();
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
    if (patience.isPositive()) {
      new PowerOff(identity.name(), current, thread.mailbox(), hosting::heard).within(patience);
    }
    end();
  }

  /// Guest's thread: ends the instance, whatever it does.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when it cannot be ended
  void end() {
    Instance current = hosting.instance();
    if (current == null) {
      return;
    }
    if (!Contained.run("ending guest " + identity.name(), () -> current.end(END_LIMIT))) {
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
    closeAll();
  }

  private void closeAll() {
    thread.shutdown();
    Contained.run("unmapping the memory of " + identity.name(), pulse::close);
    Contained.run("releasing the memory of " + identity.name(), memory::close);
    Contained.run("releasing the ports of " + identity.name(), endpoints::close);
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
    closeAll();
  }
}
