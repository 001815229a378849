package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.Adopter;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Holdings;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.ProcessFacts;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/// A hypervisor whose instances do what a test says and write down every call, and one guest on it.
/// A call is written as `generation.call`.
final class Stage extends PartialHypervisor implements AutoCloseable {
  static final String KIND = "scripted";
  static final StagedRelease OLD = new StagedRelease("scripted-1.0.0", KIND);
  static final StagedRelease NEW = new StagedRelease("scripted-2.0.0", KIND);
  static final long MEMORY_BYTES = 16L << 20;

  final List<String> calls = Collections.synchronizedList(new ArrayList<>());
  final List<Actor> actors = Collections.synchronizedList(new ArrayList<>());
  final List<GuestView> views = Collections.synchronizedList(new ArrayList<>());
  volatile List<Check> checks = List.of();
  volatile List<Check> liveChecks = List.of();
  volatile boolean sharing = true;

  /// What no instance gets of its addresses.
  volatile Optional<String> amiss = Optional.empty();

  /// What the logs say of run states.
  volatile Optional<Boolean> ran = Optional.empty();

  /// What happens during a rehearsal.
  volatile Consumer<Actor> rehearsing = _ -> {};

  volatile Check rehearsal = Check.pass("rehearsal", "It went well.");

  /// Processes of earlier instances that are still there.
  volatile List<Survivor> left = List.of();

  /// The process that all instances are, if one is to survive a daemon or to be adopted.
  volatile OptionalInt process = OptionalInt.empty();

  /// What was to be adopted.
  final List<AdoptRequest> requests = Collections.synchronizedList(new ArrayList<>());

  /// Whether a process that is adopted has its guest's memory for itself.
  volatile boolean privateMemory;

  /// What happens on a call of an instance, by `generation.call`.
  private final Map<String, Consumer<Actor>> script = new ConcurrentHashMap<>();

  private final Path folder;

  Stage(Path folder) {
    this.folder = folder;
  }

  /// Does `what` whenever `call` is made, after it was written down.
  Stage on(String call, Consumer<Actor> what) {
    script.put(call, what);
    return this;
  }

  /// Lets `call` fail.
  Stage failing(String call, RuntimeException failure) {
    return on(
        call,
        _ -> {
          throw failure;
        });
  }

  /// The hand-over that works: generation 1 of any guest stops, and its generation 2 resumes.
  Stage handingOver() {
    return on("1.handOver", this::handOverFirst);
  }

  /// Generation 1 of a guest hands over to its generation 2.
  void handOverFirst(Actor source) {
    source.runState = RunState.SENT;
    source.tell(new InstanceEvent.Stopped(1, 5_000_000));
    source.tell(new InstanceEvent.HandOverSent(1, 5_003_000));
    actor(source.guest(), 2).tell(new InstanceEvent.Resumed(2, 5_004_500));
  }

  /// The last one of that guest and generation.
  Actor actor(String guest, int generation) {
    return List.copyOf(actors).reversed().stream()
        .filter(a -> a.guest().equals(guest) && a.generation() == generation)
        .findFirst()
        .orElseThrow();
  }

  Actor actor(int generation) {
    return actors.stream().filter(a -> a.generation() == generation).findFirst().orElseThrow();
  }

  /// Calls made since the guest's first instance was started.
  List<String> replacementCalls() {
    List<String> all = List.copyOf(calls);
    return all.subList(all.indexOf("1.start") + 1, all.size());
  }

  GuestSpec spec(String name) {
    return spec(name, MEMORY_BYTES);
  }

  GuestSpec spec(String name, long memoryBytes) {
    return StagedSpec.of(folder, name, memoryBytes);
  }

  /// A guest that runs on [#OLD] in generation 1.
  Guest guest(String name) {
    return guest(name, new Endpoints(List.of()));
  }

  Guest guest(String name, Endpoints ports) {
    GuestSpec spec = spec(name);
    AcceleratorChoice accelerator = new AcceleratorChoice(Accelerator.TCG, "a test");
    GuestIdentity identity =
        new GuestIdentity(spec, accelerator, Optional.empty(), folder, folder, Instant.now());
    Upkeep.Next first = new Upkeep.Next(spec, Optional.empty());
    Kinds kinds = new Kinds(this);
    Guest guest =
        new Guest(
            GuestFacts.begun(identity, kinds, OLD, Optional.of(first)),
            kinds,
            Optional.empty(),
            changed -> views.add(changed.view()));
    guest.call(() -> {
      guest.start(
          new Starting(spec, OLD, accelerator, spec.memoryParts(), List.of()),
          () ->
              new GuestBody(
                  GuestMemory.create("test-" + name, spec.memoryParts()), ports, Confinement.NONE));
      return true;
    });
    return guest;
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    return checks;
  }

  @Override
  public void pin(Launch launch) {
    calls.add("pin");
  }

  @Override
  public Instance start(Launch launch) {
    return enter(launch, "start");
  }

  @Override
  public Instance startWaiting(Launch launch) {
    return enter(launch, "startWaiting");
  }

  @Override
  public Holdings holdings(Release release, GuestSpec guest, int pid, int memories, int nics) {
    return process.isPresent()
        ? StagedAdopter.held(guest.memoryParts())
        : super.holdings(release, guest, pid, memories, nics);
  }

  @Override
  public Instance attach(Launch launch, int pid) {
    return process.isPresent() ? enter(launch, "attach") : super.attach(launch, pid);
  }

  @Override
  public Optional<Adopter> adopter() {
    return Optional.of(new StagedAdopter(this));
  }

  @Override
  public List<Survivor> survivors(Path guests) {
    return left;
  }

  @Override
  public void end(Survivor instance) {
    calls.add(instance.generation() + ".end left");
    left = left.stream().filter(other -> !other.equals(instance)).toList();
  }

  @Override
  public Optional<Boolean> hasRun(Path files, int generation) {
    return ran;
  }

  private Actor enter(Launch launch, String call) {
    Actor actor = new Actor(launch);
    actor.called(call);
    actor.alive = true;
    actors.add(actor);
    return actor;
  }

  @Override
  public void close() {
    actors.forEach(actor -> actor.alive = false);
  }

  /// One scripted instance.
  final class Actor implements Instance {
    private final Launch launch;
    private boolean ended;
    volatile boolean alive;
    volatile boolean closed;
    volatile RunState runState = RunState.RUNNING;
    volatile Runnable asked = () -> {};
    volatile OptionalLong clocksStopped = OptionalLong.empty();
    volatile OptionalLong clocksStarted = OptionalLong.empty();

    private Actor(Launch launch) {
      this.launch = launch;
    }

    /// The guest's name.
    String guest() {
      return launch.spec().name();
    }

    void tell(InstanceEvent event) {
      launch.events().on(event);
    }

    /// The last event, once.
    synchronized void die(String reason) {
      alive = false;
      if (!ended) {
        ended = true;
        tell(new InstanceEvent.Ended(generation(), reason));
      }
    }

    private void called(String call) {
      String name = launch.generation() + "." + call;
      calls.add(name);
      Consumer<Actor> what = script.get(name);
      if (what != null) {
        what.accept(this);
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

    /// Above what the kernel gives to any process: a switch would change one that has the number.
    @Override
    public int pid() {
      return process.orElse(1_000_000_000 + generation());
    }

    @Override
    public Path console() {
      return launch.sockets().resolve(generation() + ".con");
    }

    @Override
    public void expect(Fd channel) {
      called("expect");
    }

    @Override
    public void connect(Fd channel) {
      called("connect");
    }

    @Override
    public void expectWithMemory(Fd channel) {
      called("expectWithMemory");
    }

    @Override
    public void connectWithMemory(Fd channel, Duration maxDowntime) {
      called("connectWithMemory");
    }

    @Override
    public MemoryCopy.Status copied() {
      called("copied");
      return new MemoryCopy.Status(MEMORY_BYTES, 20 << 20, 3 << 20, 2 << 20, 2, 40, 30);
    }

    @Override
    public void handOver() {
      called("handOver");
    }

    @Override
    public void freeze() {
      called("freeze");
    }

    @Override
    public void thaw() {
      called("thaw");
    }

    @Override
    public void condemn() {
      called("condemn");
    }

    @Override
    public long populate() {
      called("populate");
      return MEMORY_BYTES;
    }

    @Override
    public Optional<String> takeAddresses() {
      called("takeAddresses");
      return amiss;
    }

    @Override
    public ProcessFacts handBack() {
      called("handBack");
      return StagedAdopter.facts(generation());
    }

    @Override
    public void leave() {
      called("leave");
      closed = true;
    }

    @Override
    public Optional<String> settle() {
      called("settle");
      return Optional.empty();
    }

    @Override
    public OptionalLong pageFaults() {
      called("pageFaults");
      return OptionalLong.of(7L * calls.size());
    }

    @Override
    public void takeBack() {
      called("takeBack");
    }

    @Override
    public void withdraw() {
      called("withdraw");
    }

    @Override
    public Check rehearse(Release to, boolean anew, Consumer<String> begins) {
      calls.add(generation() + ".rehearse " + to.name() + (anew ? " anew" : ""));
      begins.accept("rehearsing");
      rehearsing.accept(this);
      return rehearsal;
    }

    @Override
    public List<Check> checks() {
      return liveChecks;
    }

    @Override
    public boolean sharesMemory() {
      return sharing;
    }

    @Override
    public OptionalLong clocksStoppedMicros() {
      return clocksStopped;
    }

    @Override
    public OptionalLong clocksStartedMicros() {
      return clocksStarted;
    }

    @Override
    public String lastWords() {
      return "";
    }

    @Override
    public RunState runState() {
      asked.run();
      return runState;
    }

    @Override
    public void resume() {
      called("resume");
    }

    @Override
    public void wake() {
      called("wake");
    }

    @Override
    public void reset() {
      called("reset");
    }

    @Override
    public OptionalLong ramBytesCopied() {
      called("ramBytesCopied");
      return OptionalLong.of(0);
    }

    @Override
    public long stateBytes() {
      called("stateBytes");
      return 4711;
    }

    @Override
    public boolean ended() {
      return !alive;
    }

    @Override
    public void powerOff() {
      called("powerOff");
    }

    @Override
    public void end(Duration limit) {
      called("end");
      die("ended");
    }

    @Override
    public void kill() {
      called("kill");
      die("killed");
    }

    @Override
    public void close() {
      called("close");
      closed = true;
    }
  }
}
