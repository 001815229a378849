package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.ControlWatcher.Party;
import dev.hyperfresh.testkit.FaultPlan.CorruptChannel;
import dev.hyperfresh.testkit.FaultPlan.CutChannel;
import dev.hyperfresh.testkit.FaultPlan.Fault;
import dev.hyperfresh.testkit.FaultPlan.FillDisk;
import dev.hyperfresh.testkit.FaultPlan.LimitDescriptors;
import dev.hyperfresh.testkit.FaultPlan.LoseAnswer;
import dev.hyperfresh.testkit.FaultPlan.LoseControl;
import dev.hyperfresh.testkit.FaultPlan.Point;
import dev.hyperfresh.testkit.FaultPlan.Signal;
import dev.hyperfresh.testkit.FaultPlan.Stall;
import dev.hyperfresh.testkit.FaultPlan.State;
import dev.hyperfresh.testkit.FaultPlan.Victim;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// A plan that waits for its point, and goes off there once. Called by whoever reaches the points;
/// the fault happens on that thread, before it goes on. Thread-safe.
final class FaultCharge implements AutoCloseable {
  private static final Duration EFFECT = Duration.ofSeconds(10);
  private static final int PAGE = 4096;
  private static final String FILLER = "filler";
  private static final Point BEGIN = new Point.Entering(State.PLANNED);

  private final FaultPlan plan;
  private final GuestView source;
  private final Path state;
  private volatile boolean begun;
  private final AtomicBoolean wentOff = new AtomicBoolean();
  private final Map<Victim, Integer> sent = new EnumMap<>(Victim.class);
  private final List<Integer> hung = new CopyOnWriteArrayList<>();
  private volatile OptionalInt targetPid = OptionalInt.empty();
  private volatile Optional<Victim> losing = Optional.empty();
  private volatile Optional<ChannelRelay> relay = Optional.empty();

  FaultCharge(FaultPlan plan, GuestView source, Path state) {
    this.plan = plan;
    this.source = source;
    this.state = state;
  }

  FaultPlan plan() {
    return plan;
  }

  /// Whether the point was reached.
  boolean wentOff() {
    return wentOff.get();
  }

  /// The processes that were stopped and may go on.
  List<Integer> hung() {
    return List.copyOf(hung);
  }

  /// Whether a hypervisor takes part in the replacement; others of the guest only rehearse it.
  boolean concerns(Party party) {
    return party.pid() == source.pid() || party.generation() > source.generation();
  }

  private Victim side(Party party) {
    return party.pid() == source.pid() ? Victim.SOURCE : Victim.TARGET;
  }

  void sending(Party to, String command) {
    // Before that the replacement only asks whether it is possible.
    if (!begun) {
      return;
    }
    Victim side = side(to);
    int number;
    synchronized (sent) {
      number = sent.merge(side, 1, Integer::sum);
    }
    if (side == Victim.TARGET) {
      targetPid = OptionalInt.of(to.pid());
    }
    reach(new Point.BeforeCommand(side, command));
    reach(new Point.BeforeMessage(side, number));
    if (side == Victim.SOURCE && command.equals("migrate")) {
      reach(new Point.Entering(State.SWITCHING));
    }
  }

  boolean received(Party from, String message, String status) {
    Victim side = side(from);
    boolean isAnswer = message.equals("return") || message.equals("error");
    if (isAnswer && losing.isPresent() && losing.get() == side) {
      losing = Optional.empty();
      return false;
    }
    reach(new Point.OnEvent(side, message, status));
    return true;
  }

  /// The replacement has come to `point`: if it is the plan's, the fault happens now.
  void reach(Point point) {
    begun |= point.equals(BEGIN);
    if (begun && point.equals(plan.point()) && wentOff.compareAndSet(false, true)) {
      goOff();
    }
  }

  private void goOff() {
    switch (plan.fault()) {
      case Signal signal -> signal(signal);
      case LoseAnswer _ -> losing = sideOf(plan.point());
      // Thrown on the thread that reads it, as by a message that it cannot read.
      case LoseControl _ -> throw new IllegalStateException("a test broke it");
      case Stall stall -> LockSupport.parkNanos(stall.duration().toNanos());
      case FillDisk _ -> fill();
      case LimitDescriptors limit -> limitDescriptors(openDescriptors() + limit.more());
      case CutChannel _, CorruptChannel _ ->
          throw new IllegalStateException(plan + " is not a point in the channel");
    }
  }

  private static Optional<Victim> sideOf(Point point) {
    return switch (point) {
      case Point.BeforeCommand before -> Optional.of(before.side());
      case Point.BeforeMessage before -> Optional.of(before.side());
      case Point.OnEvent event -> Optional.of(event.side());
      case Point.Entering _, Point.AtByte _, Point.AtEndOfState _ -> Optional.empty();
    };
  }

  private void signal(Signal signal) {
    int pid =
        switch (signal.victim()) {
          case SOURCE -> source.pid();
          case TARGET -> targetPid.orElseThrow();
          case DAEMON -> (int) ProcessHandle.current().pid();
        };
    try (PidFd victim = PidFd.open(pid)) {
      victim.signal(signal.signal());
      if (signal.signal() == Signals.STOP) {
        hung.add(pid);
        Await.until("the stop of process " + pid, EFFECT, () -> isStopped(pid));
      } else if (!victim.awaitExit(EFFECT)) {
        throw new IllegalStateException("process " + pid + " survives signal " + signal.signal());
      }
    }
  }

  /// Whether every thread of a process is stopped.
  private static boolean isStopped(int pid) {
    try (Stream<Path> threads = Files.list(Path.of("/proc", Integer.toString(pid), "task"))) {
      return threads.allMatch(thread -> {
        try {
          String stat = Files.readString(thread.resolve("stat"), StandardCharsets.ISO_8859_1);
          return stat.charAt(stat.lastIndexOf(')') + 2) == 'T';
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      });
    } catch (IOException | UncheckedIOException e) {
      return false;
    }
  }

  /// Lets every stopped process go on that is still there.
  void thaw() {
    hung.forEach(FaultCharge::goOn);
    hung.clear();
  }

  private static void goOn(int pid) {
    try (PidFd victim = PidFd.open(pid)) {
      victim.signal(Signals.CONT);
    } catch (LinuxException e) {
      // It has been ended meanwhile, as a target that hangs is.
    }
  }

  private void fill() {
    ByteBuffer page = ByteBuffer.allocate(PAGE);
    try (FileChannel file =
        FileChannel.open(
            state.resolve(FILLER), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      while (true) {
        file.write(page.clear());
      }
    } catch (IOException e) {
      // ENOSPC is what this is for.
      return;
    }
  }

  private static int openDescriptors() {
    try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
      return (int) open.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Sets the soft limit of this process, with util-linux.
  static void limitDescriptors(int most) {
    try {
      Process prlimit =
          new ProcessBuilder(
                  "prlimit",
                  "--pid",
                  Long.toString(ProcessHandle.current().pid()),
                  "--nofile=" + most + ":")
              .redirectErrorStream(true)
              .start();
      String said =
          new String(prlimit.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
      if (prlimit.waitFor() != 0) {
        throw new IllegalStateException("prlimit: " + said);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("prlimit: interrupted", e);
    }
  }

  /// Gives the target a channel of its own, in which the plan's point is.
  void relay(Fd channel, Consumer<Fd> target) {
    long at =
        switch (plan.point()) {
          case Point.AtByte byteNumber -> byteNumber.bytes();
          case Point.AtEndOfState _ -> Long.MIN_VALUE;
          case Point.Entering _, Point.BeforeCommand _, Point.BeforeMessage _, Point.OnEvent _ ->
              throw new IllegalStateException(plan + " needs no relay");
        };
    relay =
        Optional.of(
            ChannelRelay.insert(channel, target, at, _ -> relayReached(), source.spec().name()));
  }

  private ChannelRelay.Then relayReached() {
    if (!wentOff.compareAndSet(false, true)) {
      return ChannelRelay.Then.PASS_ON;
    }
    Fault fault = plan.fault();
    if (fault instanceof CutChannel) {
      return ChannelRelay.Then.CUT;
    }
    if (fault instanceof CorruptChannel) {
      return ChannelRelay.Then.CORRUPT;
    }
    goOff();
    return endsTheSender(fault) ? ChannelRelay.Then.CUT : ChannelRelay.Then.PASS_ON;
  }

  /// A source that ends at a byte has sent no more than that. The channel could hold more, since it
  /// takes all of the state at once.
  private boolean endsTheSender(Fault fault) {
    return plan.point() instanceof Point.AtByte
        && fault instanceof Signal signal
        && signal.victim() == Victim.SOURCE
        && signal.signal() != Signals.STOP;
  }

  /// Takes back what outlives a plan: the relay, the file that fills the disk.
  @Override
  public void close() {
    relay.ifPresent(ChannelRelay::close);
    try {
      Files.deleteIfExists(state.resolve(FILLER));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
