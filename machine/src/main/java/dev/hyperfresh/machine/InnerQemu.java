package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.qemu.QemuProcess;
import dev.hyperfresh.vm.Agent;
import dev.hyperfresh.vm.AgentException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/// A guest's QEMU inside a machine: reached through the machine's agent.
final class InnerQemu implements QemuProcess {
  private static final System.Logger LOG = System.getLogger(InnerQemu.class.getName());
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);

  /// A translated machine on a busy host answers within some hundred milliseconds. Longer than this
  /// its guest does not stand still for it.
  private static final Duration SILENCE = Duration.ofSeconds(4);

  private final Machine machine;
  private final Place place;
  private final Launch launch;
  private final int inner;
  private final List<Path> sockets;

  /// Whether the machine as a whole may be stopped, and ended, because of this one.
  private final boolean mayHalt;

  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile String lastWords = "";
  private volatile boolean halted;
  private volatile long clockOffset;

  /// One that was started just now.
  ///
  /// @param inner the number of the process in the machine
  InnerQemu(Machine machine, Place place, Launch launch, int inner, List<Path> sockets) {
    this(machine, place, launch, inner, sockets, true);
  }

  /// One that an earlier daemon started. The machine is never stopped because of it.
  static InnerQemu survivor(
      Machine machine, Place place, Launch launch, int inner, List<Path> sockets) {
    InnerQemu process = new InnerQemu(machine, place, launch, inner, sockets, false);
    try {
      // Its end may have been told to the earlier daemon.
      if (!machine.vm().programs().runs(inner)) {
        machine.vm().programs().unwatch(inner);
        process.over(new Agent.Exited(inner, Signals.KILL, ""));
      }
      return process;
    } catch (TroubleException e) {
      machine.vm().programs().unwatch(inner);
      throw e;
    }
  }

  private InnerQemu(
      Machine machine, Place place, Launch launch, int inner, List<Path> sockets, boolean mayHalt) {
    this.machine = machine;
    this.place = place;
    this.launch = launch;
    this.inner = inner;
    this.sockets = List.copyOf(sockets);
    this.mayHalt = mayHalt;
    machine.vm().programs().watch(inner, this::over);
  }

  private void over(Agent.Exited exit) {
    lastWords = exit.tail().strip().replaceAll("\\s*\\n\\s*", " / ");
    ended.countDown();
    Thread.ofPlatform().daemon().name("hf-end-" + launch.spec().name()).start(place::endControl);
  }

  /// The number of the process in the machine.
  int inner() {
    return inner;
  }

  @Override
  public int pid() {
    return machine.pid();
  }

  @Override
  public boolean hasOwnProcess() {
    return false;
  }

  @Override
  public Control reconnect() {
    return new Control(place.keptControl(), true);
  }

  @Override
  public Optional<String> incoming(Fd channel) {
    compareClocks();
    place.receiveFrom(channel);
    return Optional.of("fd:" + StateWays.INCOMING_FD);
  }

  @Override
  public Optional<String> outgoing(Fd channel) {
    compareClocks();
    return Optional.of("unix:" + place.sendTo(channel));
  }

  private void compareClocks() {
    try {
      clockOffset = machine.vm().clockOffsetMicros();
    } catch (AgentException e) {
      throw new TroubleException("machine " + machine.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public long hostMicros(long micros) {
    return micros + clockOffset;
  }

  /// A machine whose agent is silent is stopped as a whole: that is certain, whatever goes on in
  /// it.
  @Override
  public void stop() {
    try {
      signal(Signals.STOP);
    } catch (TroubleException e) {
      halt(e);
    }
  }

  private void halt(TroubleException why) {
    if (awaitEnd(Duration.ZERO)) {
      return;
    }
    if (!mayHalt) {
      throw why;
    }
    LOG.log(System.Logger.Level.WARNING, "machine " + machine.name() + " is being paused", why);
    machine.halt();
    halted = true;
  }

  @Override
  public boolean stands() {
    if (awaitEnd(Duration.ZERO)) {
      return true;
    }
    if (!halted) {
      try {
        return machine
            .vm()
            .ask(agent -> agent.state(inner, SILENCE))
            .chars()
            .allMatch(c -> "TtZX".indexOf(c) >= 0);
      } catch (TroubleException e) {
        halt(e);
      }
    }
    return machine.stands();
  }

  @Override
  public void goOn() {
    if (halted) {
      machine.goOn();
      halted = false;
    }
    signal(Signals.CONT);
  }

  @Override
  public void condemn() {
    if (halted) {
      machine.condemn(place.id());
    } else {
      signal(Signals.KILL);
    }
  }

  private void signal(int signal) {
    if (!awaitEnd(Duration.ZERO)) {
      machine.vm().tell(agent -> agent.signal(inner, signal, SILENCE));
    }
  }

  @Override
  public boolean awaitEnd(Duration limit) {
    try {
      // A machine that is gone takes all with it, also before anybody is told.
      return machine.vm().exited() || ended.await(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public void kill() {
    if (awaitEnd(Duration.ZERO)) {
      return;
    }
    try {
      condemn();
    } catch (TroubleException e) {
      halt(e);
      if (halted) {
        machine.condemn(place.id());
      }
    }
    if (!awaitEnd(KILL_LIMIT)) {
      throw new TroubleException(
          "process " + inner + " of machine " + machine.name() + " does not end");
    }
  }

  @Override
  public long bytesRead() {
    try {
      return awaitEnd(Duration.ZERO) ? 0 : machine.vm().ask(agent -> agent.io(inner)).read();
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.DEBUG, "bytes are not counted", e);
      return 0;
    }
  }

  @Override
  public OptionalLong pageFaults() {
    try {
      return awaitEnd(Duration.ZERO)
          ? OptionalLong.empty()
          : OptionalLong.of(faults(machine.vm().ask(agent -> agent.faults(inner))));
    } catch (TroubleException e) {
      LOG.log(System.Logger.Level.DEBUG, "page faults are not counted", e);
      return OptionalLong.empty();
    }
  }

  private static long faults(Agent.Faults faults) {
    return faults.minor() + faults.major();
  }

  @Override
  public List<Check> diskChecks() {
    return QemuInside.diskChecks(launch, pid());
  }

  @Override
  public String confinement() {
    return "process " + inner + " in machine " + machine.name();
  }

  @Override
  public String lastWords() {
    return lastWords;
  }

  @Override
  public void close() {
    if (!awaitEnd(Duration.ZERO)) {
      machine.vm().programs().unwatch(inner);
      place.letGo();
      return;
    }
    place.close();
    for (Path socket : sockets) {
      try {
        Files.deleteIfExists(socket);
      } catch (IOException e) {
        LOG.log(System.Logger.Level.WARNING, socket + " cannot be removed", e);
      }
    }
  }
}
