package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
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
import java.nio.file.Path;
import java.time.Duration;
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
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/// A guest: what is known of it, the one instance that runs it, and its memory and network ports
/// while one does.
///
/// All writes happen on the guest's own thread, `hf-guest-NAME`; other threads enqueue with [#call]
/// and read [#view]. Events of the instances wait in [#mailbox] for that thread.
final class Guest implements Movable {
  private static final Duration END_LIMIT = Duration.ofSeconds(5);

  private final Kinds kinds;
  private final GuestFacts facts;
  private final GuestThread thread;
  private final Consumer<Guest> changed;
  private final AtomicBoolean replacing = new AtomicBoolean();
  private final Hosting hosting;
  private final LaterStarts laterStarts;
  private Optional<GuestBody> body;

  private boolean deleted;
  private volatile GuestView view;

  /// @param body what it has of the host, if something runs it; belongs to this object now
  /// @param changed told whenever the view changed, on the guest's thread
  Guest(GuestFacts facts, Kinds kinds, Optional<GuestBody> body, Consumer<Guest> changed) {
    this.facts = facts;
    this.kinds = kinds;
    this.body = body;
    this.changed = changed;
    this.thread = new GuestThread(facts.identity().name(), this::settle);
    this.hosting = new Hosting(new Home());
    this.laterStarts = new LaterStarts(this, facts, hosting);
    this.view = facts.view(GuestView.State.STARTING, "", null);
  }

  /// One that an earlier daemon left, and that nothing runs.
  static Guest stopped(GuestFacts facts, Kinds kinds, Consumer<Guest> changed) {
    Guest guest = new Guest(facts, kinds, Optional.empty(), changed);
    guest.view = facts.view(GuestView.State.STOPPED, facts.why(), null);
    return guest;
  }

  /// The guest as its hosting needs it.
  private final class Home implements Hosted {
    @Override
    public void publish(GuestView.State state, String detail) {
      Guest.this.publish(state, detail);
    }

    @Override
    public void write(Instance running, Optional<Instance> waiting, Optional<String> doubt) {
      facts.write(running, waiting.map(GuestFile.Tenant::of), doubt);
    }

    @Override
    public void stood(InstanceEvent event) {
      if (facts.standstill().heard(event)) {
        Contained.run("recording " + name(), () -> writeDown(Optional.empty()));
      }
    }

    @Override
    public void undeadGone(boolean source) {
      body.map(GuestBody::endpoints).ifPresent(source ? Endpoints::keep : Endpoints::drop);
    }

    @Override
    public boolean endsAtReset() {
      return spec().ends().endsAtReboot();
    }

    @Override
    public void gone(GuestEnd end, String why) {
      facts.ended(end, why);
    }

    @Override
    public Optional<Boolean> hasRun(int which) {
      return kinds.hasRun(files(), which);
    }

    @Override
    public BlockingQueue<InstanceEvent> mailbox() {
      return thread.mailbox();
    }

    @Override
    public String name() {
      return facts.identity().name();
    }
  }

  @Override
  public GuestSpec spec() {
    return facts.identity().spec();
  }

  @Override
  public Kinds kinds() {
    return kinds;
  }

  @Override
  public AcceleratorChoice accelerator() {
    return facts.identity().accelerator();
  }

  @Override
  public boolean isForeign(Instance instance) {
    return facts.isForeign(instance);
  }

  @Override
  public Endpoints endpoints() {
    return body().endpoints();
  }

  private GuestBody body() {
    return body.orElseThrow(this::notRunning);
  }

  Path files() {
    return facts.identity().files();
  }

  /// Guest's thread: whether it carries a heartbeat that beats now.
  boolean beats() {
    return body.isPresent() && body.get().pulse().find();
  }

  /// Whether it is started again; for the guest's thread.
  LaterStarts laterStarts() {
    return laterStarts;
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
    return beats() ? body().pulse().watch(spec().name()) : Optional.empty();
  }

  /// What every thread may know of the guest; a consistent copy.
  GuestView view() {
    return view;
  }

  /// As [GuestThread#call].
  <T> T call(Callable<T> work) {
    return thread.call(() -> {
      try {
        return work.call();
      } finally {
        rest();
      }
    });
  }

  /// What a guest has of the host while something runs it is given back when nothing does.
  private void rest() {
    if (hosting.instance() == null && view.state() == GuestView.State.STOPPED) {
      giveBackBody();
    }
  }

  private void giveBackBody() {
    body.ifPresent(held -> held.giveBack(spec().name()));
    body = Optional.empty();
  }

  /// Guest's thread: boots it.
  ///
  /// @param fresh what it gets of the host
  /// @throws HyperFreshException when it does not start; then it is as before, but for a hypervisor
  ///   that runs and cannot be ended
  void start(Starting starting, Supplier<GuestBody> fresh) {
    Release release = starting.release();
    giveBackBody();
    GuestBody held = fresh.get();
    body = Optional.of(held);
    facts.become(starting.spec(), starting.accelerator());
    facts.user(held.confinement().user());
    Launch launch = launch(release, held.endpoints().queues());
    if (facts.upkeep().next().isPresent()) {
      kinds.of(release).pin(launch);
    }
    facts.writeExpected(release);
    hosting.adopt(kinds.of(release).start(launch));
    facts.upkeep(facts.upkeep().next(Optional.empty()));
    writeDown(Optional.empty());
    laterStarts.wantNothing();
    publish(GuestView.State.RUNNING, "");
  }

  /// Guest's thread: takes over the instance that an earlier daemon left, and has it go on where
  /// that is certain to be right.
  ///
  /// @param survivor what is left of the guest, and what is known of what is not
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not answer; nothing was changed
  void takeBack(
      Release release, Verdict.Kept survivor, Optional<String> doubt, int lastGeneration) {
    facts.generation(survivor.authority().generation() - 1);
    Instance attached =
        kinds.of(release).attach(launch(release, endpoints().queues()), survivor.authority().pid());
    facts.generation(lastGeneration);
    try {
      hosting.takeBack(attached, survivor.targetIsGone(), survivor.targetRan(), doubt);
    } catch (RuntimeException | Error e) {
      hosting.letGo();
      Contained.run("releasing " + spec().name(), attached::close);
      throw e;
    }
  }

  /// Guest's thread: takes over the instance that something else started.
  void takeOver(Release release, int pid, String remarks) {
    Instance foreign = kinds.of(release).attach(launch(release, endpoints().queues()), pid);
    hosting.adopt(foreign);
    if (!foreign.runState().isLive()) {
      throw Problem.ADOPT_REFUSED.because("The guest no longer runs.");
    }
    writeDown(Optional.empty());
    publish(GuestView.State.RUNNING, remarks);
  }

  /// Guest's thread: lets go of an instance that could not be taken over; it goes on as it was.
  void leaveAlone() {
    Optional.ofNullable(hosting.letGo()).ifPresent(Instance::close);
    GuestFile.remove(files());
  }

  @Override
  public void writeDown(Optional<Instance> waiting) {
    hosting.write(waiting);
  }

  @Override
  public Optional<Boolean> hasRun(int which) {
    return kinds.hasRun(files(), which);
  }

  /// Which instance runs it, and whether it may be continued; for the guest's thread.
  Hosting hosting() {
    return hosting;
  }

  /// Any thread: whether a replacement of it has begun and is not over.
  boolean isReplacing() {
    return replacing.get();
  }

  /// Guest's thread: as [Hosting#isAlone].
  boolean isAlone() {
    return hosting.isAlone();
  }

  /// Guest's thread: what another daemon would need of the guest; still owned by this object.
  Holdings holdings() {
    return new Holdings(body().memory().descriptors(), endpoints().queues());
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
      throw Problem.REPLACE_BUSY.because("Guest " + spec().name() + " is already being moved.");
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
        WallClock clock = new WallClock(spec());
        return record.committed() && clock.steps(stepClock)
            ? record.with(clock.step(this::running, record.clocks(), progress))
            : record;
      } finally {
        replacing.set(false);
      }
    });
  }

  @Override
  public int nextGeneration() {
    return facts.generation() + 1;
  }

  @Override
  public Launch launch(Release release, List<Fd> queues) {
    GuestIdentity identity = facts.identity();
    facts.generation(nextGeneration());
    return new Launch(
        identity.spec(),
        release,
        identity.accelerator().accelerator(),
        body().memory(),
        queues,
        identity.files(),
        identity.sockets(),
        facts.generation(),
        body().confinement(),
        thread::post,
        identity.adopted());
  }

  @Override
  public Instance running() {
    Instance current = hosting.instance();
    if (current == null || view.state() == GuestView.State.STOPPED) {
      throw notRunning();
    }
    return current;
  }

  private HyperFreshException notRunning() {
    return Problem.GUEST_STATE.because(
        "Guest " + spec().name() + " is " + view.state().name().toLowerCase(Locale.ROOT) + ".");
  }

  @Override
  public void stood(OptionalLong stopped, OptionalLong resumed) {
    facts.standstill().stood(stopped, resumed);
  }

  @Override
  public void adopt(Instance next) {
    hosting.adopt(next);
  }

  @Override
  public void goOn(Optional<Instance> undead) {
    hosting.goOn(undead);
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

  @Override
  public void publish(GuestView.State state, String detail) {
    view = facts.view(state, detail, hosting.instance());
    Contained.run("reporting guest " + spec().name(), () -> changed.accept(this));
  }

  /// Guest's thread, outside a replacement: takes note of what happened by itself.
  private void settle() {
    hosting.settle();
    rest();
  }

  /// Guest's thread: asks the guest to power off, and ends its instance if it cannot hear or does
  /// not within `patience`. One that has ended is not started by itself any more.
  ///
  /// @throws HyperFreshException [Problem#INTERNAL] when the instance cannot be ended
  void stop(Duration patience) {
    Instance current = hosting.instance();
    if (current == null) {
      laterStarts.stayStopped();
      return;
    }
    if (patience.isPositive()) {
      new PowerOff(spec().name(), current, thread.mailbox(), hosting::heard).within(patience);
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
    if (!Contained.run("ending guest " + spec().name(), () -> current.end(END_LIMIT))) {
      current.kill();
    }
    hosting.release(GuestEnd.REQUEST, LaterStarts.BY_REQUEST);
  }

  /// Any thread, last of all: ends the instance and returns memory and endpoints to the host. Does
  /// nothing the second time.
  ///
  /// @param force whether also a guest that runs is ended
  /// @throws HyperFreshException [Problem#GUEST_RUNS], [Problem#INTERNAL] when the instance cannot
  ///   be ended; nothing is returned then
  synchronized void delete(boolean force) {
    if (deleted) {
      return;
    }
    thread.last(() -> {
      if (!force && hosting.instance() != null) {
        throw Problem.GUEST_RUNS.because("Guest " + spec().name() + " was not deleted.");
      }
      laterStarts.wantNothing();
      end();
      giveBackBody();
    });
    deleted = true;
  }

  /// Any thread, last of all: lets go of the guest, which goes on without a daemon.
  void letGo() {
    letGo(() -> {}, Instance::close);
  }

  /// As [#letGo()].
  ///
  /// @param first done before, on the guest's thread; when it throws, nothing is let go
  /// @param how its instance is let go
  synchronized void letGo(Runnable first, Consumer<Instance> how) {
    if (deleted) {
      return;
    }
    thread.last(() -> {
      first.run();
      // Its channel ends now and the guest does not, so nobody may take that for the guest's end.
      Optional.ofNullable(hosting.letGo())
          .ifPresent(current -> Contained.run("letting go", () -> how.accept(current)));
      body.ifPresent(held -> held.letGo(spec().name()));
    });
    deleted = true;
  }
}
