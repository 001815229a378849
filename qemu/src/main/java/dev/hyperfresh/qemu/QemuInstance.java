package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.InstanceEvents;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/// One QEMU, wherever its process is. See [Instance] for the order of calls.
///
/// Its end is the end of its process. A control channel that is lost while the process lives is
/// opened again, by the thread that read the old one; what was reported meanwhile is asked for.
final class QemuInstance implements Instance {
  private static final String CHANNEL = "hf-channel";
  private static final String HAND_OVER = "hand-over";
  private static final String ANSWERING = "answering";

  /// Far more than any local channel carries: QEMU must never throttle itself.
  private static final long MAX_BANDWIDTH = 1L << 40;

  /// Milliseconds; QEMU's own estimate decides when to stop the guest, and with the RAM left out
  /// nothing remains to be estimated.
  private static final long DOWNTIME_LIMIT = 2000;

  /// Arguments of `migrate-set-capabilities`, on both sides.
  static final Map<String, ?> CAPABILITIES =
      Map.of(
          "capabilities", Qemu.NEEDED_CAPABILITIES.stream().map(QemuInstance::capability).toList());

  /// Arguments of `migrate-set-parameters`, on the source.
  static final Map<String, ?> PARAMETERS =
      Map.of("max-bandwidth", MAX_BANDWIDTH, "downtime-limit", DOWNTIME_LIMIT);

  private static final int FREEZE_LOOKS = 2000;
  private static final long LOOK_NANOS = 1_000_000;
  private static final Duration DRAIN_LIMIT = Duration.ofSeconds(2);
  private static final Duration TAKE_BACK_LIMIT = Duration.ofSeconds(2);

  /// How long after the end of its control channel a process is usually gone.
  private static final Duration END_GRACE = Duration.ofMillis(200);

  private static final Duration RECONNECT_LIMIT = Duration.ofSeconds(2);

  /// How soon `cont` is tried again when no event says that it is time.
  private static final long RESUME_MILLIS = 5;

  /// QAPI `MigrationStatus`: neither not begun nor over.
  static final List<String> UNDER_WAY =
      List.of("setup", "active", "device", "pre-switchover", "cancelling", "wait-unplug");

  private final Launch launch;
  private final int generation;
  private final Release release;
  private final QemuProcess process;
  private final Path files;
  private final Path console;
  private final MemFd memory;

  /// Counts events, and is notified of each.
  private final AtomicInteger changes = new AtomicInteger();

  private final InstanceEvents events;
  private final Transcript transcript = new Transcript();
  private final CountDownLatch ended = new CountDownLatch(1);
  private volatile CountDownLatch handOverOver = new CountDownLatch(1);
  private byte[] handOverCommand = new byte[0];
  private volatile boolean source;
  private long readBefore;
  private final Rehearser rehearser;
  private final ControlWatcher watcher;
  private final Duration patience;
  private final String confinement;
  private volatile Qmp qmp;

  private volatile boolean closing;

  /// Whether a guest's state is awaited that has not been seen to run.
  private volatile boolean expecting;

  /// Whether every report of the process has reached us.
  private volatile boolean heardAll = true;

  /// Takes over `process` and its control channel.
  ///
  /// @param control connected to the process; it belongs to this object even when this throws
  /// @param channel whose the control channel is
  /// @param patience how long the answer to a command is awaited; a process that is starting has
  ///   longer
  /// @throws Qmp.QmpException when it does not answer; the caller still owns the process
  QemuInstance(
      Launch launch,
      QemuProcess process,
      UnixSocket control,
      Qmp.Channel channel,
      Path console,
      Rehearser rehearser,
      ControlWatcher watcher,
      Duration patience) {
    this.launch = launch;
    this.generation = launch.generation();
    this.release = launch.release();
    this.process = process;
    this.files = launch.files();
    this.console = console;
    this.memory = launch.memory();
    this.events = launch.events();
    this.rehearser = rehearser;
    this.watcher = watcher;
    this.patience = patience;
    Connection first = new Connection();
    this.qmp = open(control, channel, first, startLimit(patience));
    first.establish();
    // The greeting came, so the process is QEMU by now, with the rights that it keeps.
    this.confinement = process.confinement();
  }

  private Qmp open(UnixSocket control, Qmp.Channel channel, Connection connection, Duration limit) {
    return Qmp.open(
        control,
        new Qmp.Use(
            watcher,
            new ControlWatcher.Party(launch.spec().name(), generation, process.pid()),
            patience,
            channel),
        launch.spec().name() + "-" + generation,
        transcript,
        connection,
        limit);
  }

  /// One control channel of the process. What comes of its end is nobody's affair until it has been
  /// opened.
  private final class Connection implements Qmp.Listener {
    private boolean established;
    private boolean over;

    @Override
    public void event(QmpMessage.Event event) {
      told(event);
    }

    @Override
    public void ended(String reason, boolean all) {
      synchronized (this) {
        over = true;
        notifyAll();
        if (!established) {
          return;
        }
      }
      lost(reason, all);
    }

    /// From now on its end is the process's affair.
    ///
    /// @throws Qmp.QmpException when it is over already
    synchronized void establish() {
      if (over) {
        throw new Qmp.QmpException("the control channel was lost at once");
      }
      established = true;
    }

    /// Waits for its end, so that the next channel has the peer for itself.
    synchronized void awaitOver() {
      long deadline = Clock.monotonicNanos() + RECONNECT_LIMIT.toNanos();
      try {
        for (long left = RECONNECT_LIMIT.toNanos(); !over && left > 0; ) {
          TimeUnit.NANOSECONDS.timedWait(this, left);
          left = deadline - Clock.monotonicNanos();
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /// A process that is starting has longer for its first answers, but no longer than an ordinary
  /// one ever has: unless it always has longer, as in a machine that is translated.
  private static Duration startLimit(Duration patience) {
    Duration most = patience.compareTo(Qmp.PATIENCE) > 0 ? patience : Qmp.PATIENCE;
    Duration longer = patience.multipliedBy(3);
    return longer.compareTo(most) < 0 ? longer : most;
  }

  @Override
  public int generation() {
    return generation;
  }

  @Override
  public Release release() {
    return release;
  }

  @Override
  public int pid() {
    return process.pid();
  }

  @Override
  public boolean hasOwnProcess() {
    return process.hasOwnProcess();
  }

  @Override
  public Path console() {
    return console;
  }

  @Override
  public void expect(Fd channel) {
    preparing(() -> {
      String uri = process.incoming(channel).orElseGet(() -> give(channel));
      qmp.execute("migrate-set-capabilities", CAPABILITIES);
      expecting = true;
      readBefore = process.bytesRead();
      qmp.execute("migrate-incoming", Map.of("uri", uri));
    });
  }

  @Override
  public void connect(Fd channel) {
    preparing(() -> {
      source = true;
      handOverOver = new CountDownLatch(1);
      String uri = process.outgoing(channel).orElseGet(() -> give(channel));
      handOverCommand = Qmp.encode("migrate", Map.of("uri", uri), HAND_OVER);
      qmp.execute("migrate-set-capabilities", CAPABILITIES);
      qmp.execute("migrate-set-parameters", PARAMETERS);
      Qmp current = qmp;
      var _ =
          current
              .expectAnswer(HAND_OVER)
              .whenComplete((_, refusal) -> {
                // A channel that was lost refuses everything and tells nothing.
                if (refusal != null && current.isOpen()) {
                  failed(String.valueOf(refusal.getMessage()));
                }
              });
    });
  }

  private static Map<String, ?> capability(String name) {
    return Map.of("capability", name, "state", true);
  }

  /// QEMU gets its own copy of the descriptor.
  private String give(Fd channel) {
    qmp.execute("getfd", Map.of("fdname", CHANNEL), channel);
    return "fd:" + CHANNEL;
  }

  private void preparing(Runnable steps) {
    try {
      steps.run();
    } catch (Qmp.QmpException | QemuProcess.TroubleException e) {
      throw Problem.REPLACE_PREPARE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void handOver() {
    try {
      qmp.post("migrate", handOverCommand);
    } catch (Qmp.QmpException e) {
      throw Problem.REPLACE_SWITCH.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void freeze() {
    try {
      process.stop();
    } catch (QemuProcess.TroubleException e) {
      if (!ended()) {
        throw notFrozen(e.getMessage());
      }
    }
    awaitStanding();
    if (!hasHeardAll()) {
      throw notFrozen("some of its reports may not have come");
    }
  }

  /// Of a process that writes no more.
  private boolean hasHeardAll() {
    return (ended() ? awaitEnded() : qmp.drain(DRAIN_LIMIT)) && heardAll;
  }

  private void awaitStanding() {
    try {
      for (int look = 0; !process.stands(); look++) {
        if (look == FREEZE_LOOKS) {
          throw notFrozen("a thread of it goes on");
        }
        LockSupport.parkNanos(LOOK_NANOS);
      }
    } catch (QemuProcess.TroubleException e) {
      throw notFrozen(e.getMessage());
    }
  }

  private HyperFreshException notFrozen(@Nullable String reason) {
    return Problem.REPLACE_SWITCH.because(
        release.name() + " with pid " + pid() + " could not be stopped: " + reason + ".");
  }

  @Override
  public void thaw() {
    try {
      process.goOn();
    } catch (QemuProcess.TroubleException e) {
      throw Problem.INTERNAL.because(
          release.name() + " with pid " + pid() + " cannot go on: " + e.getMessage(), e);
    }
  }

  @Override
  public void condemn() {
    try {
      process.condemn();
    } catch (QemuProcess.TroubleException e) {
      if (!ended()) {
        throw Problem.INTERNAL.because(
            release.name() + " with pid " + pid() + " cannot be killed: " + e.getMessage(), e);
      }
    }
  }

  @Override
  public void takeBack() {
    try {
      awaitHandOverOver();
      goOn(state -> state.afterRollBack() == RunState.AfterRollBack.AS_IT_IS);
    } catch (Qmp.QmpException e) {
      throw notTakenBack(e);
    }
    forgetChannel();
  }

  @Override
  public void resume() {
    try {
      goOn(_ -> false);
    } catch (Qmp.QmpException e) {
      throw notTakenBack(e);
    }
  }

  /// A process that lives still has the guest's state, whatever it says or does not say now.
  private HyperFreshException notTakenBack(Qmp.QmpException e) {
    if (ended()) {
      return Problem.REPLACE_LOST.because(
          "The old hypervisor could not go on: " + e.getMessage(), e);
    }
    if (e.unanswered() && qmp.isOpen()) {
      announceAnswer();
    }
    return Problem.REPLACE_STANDS.because(
        release.name() + " with pid " + pid() + " does not go on: " + e.getMessage() + ".", e);
  }

  /// The process reads this command when it reads again.
  private void announceAnswer() {
    try {
      var _ =
          qmp.expectAnswer(ANSWERING)
              .thenAccept(_ -> events.on(new InstanceEvent.Answering(generation)));
      qmp.post("query-status", Qmp.encode("query-status", Map.of(), ANSWERING));
    } catch (Qmp.QmpException lost) {
      // When it is connected again, that is told.
      transcript.sent("# query-status: " + lost.getMessage());
    }
  }

  private void forgetChannel() {
    try {
      qmp.execute("closefd", Map.of("fdname", CHANNEL));
    } catch (Qmp.QmpException e) {
      // The hand-over has closed it if it came that far.
      transcript.sent("# closefd: " + e.getMessage());
    }
  }

  /// Continues the vCPUs unless the guest `stays` as it is. A migration that failed resumes the
  /// guest by itself, and until it has, QEMU refuses `cont`. So does one whose image is still
  /// locked by a target that is being killed.
  private void goOn(Predicate<RunState> stays) {
    long deadline = Clock.monotonicNanos() + TAKE_BACK_LIMIT.toNanos();
    while (true) {
      int seen = changes.get();
      RunState state = askRunState();
      if (state.isLive() || stays.test(state)) {
        return;
      }
      boolean late = Clock.monotonicNanos() > deadline;
      try {
        qmp.execute(TAKE_BACK_LIMIT, "cont", Map.of());
      } catch (Qmp.QmpException e) {
        if (e.unanswered() || !qmp.isOpen() || late) {
          throw e;
        }
        awaitChange(seen);
        continue;
      }
      // A guest that can go on does so before `cont` is answered.
      if (late) {
        throw new Qmp.QmpException("it is still " + askRunState().label());
      }
      awaitChange(seen);
    }
  }

  /// Waits for an event of the process that came after `seen`, for a little while at most.
  private void awaitChange(int seen) {
    synchronized (changes) {
      if (changes.get() == seen) {
        try {
          changes.wait(RESUME_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
      }
    }
  }

  private RunState askRunState() {
    return runState(qmp);
  }

  private RunState runState(Qmp channel) {
    RunState state =
        RunStates.of(
            channel.execute(TAKE_BACK_LIMIT, "query-status", Map.of()).path("status").asString(""));
    // One that an earlier daemon had made wait.
    expecting |= state == RunState.AWAITING;
    return state;
  }

  /// A hand-over under way would stop the guest a moment later, so its end is awaited, also while
  /// the guest runs. It ends by itself: its reader is dead or dying, and the channel holds all of
  /// the state. It is not cancelled, because a QEMU 7.2 whose migration is cancelled while it gives
  /// its disks away resumes the guest without having them back, and aborts at the guest's next
  /// write.
  private void awaitHandOverOver() {
    String status =
        qmp.execute(TAKE_BACK_LIMIT, "query-migrate", Map.of()).path("status").asString("none");
    if (UNDER_WAY.contains(status)) {
      try {
        if (!handOverOver.await(TAKE_BACK_LIMIT.toMillis(), TimeUnit.MILLISECONDS)) {
          throw new Qmp.QmpException("the hand-over did not end");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new Qmp.QmpException("interrupted before the hand-over ended");
      }
    }
  }

  /// What it was started with.
  Launch launch() {
    return launch;
  }

  /// How many bytes the guest sees of each disk of its spec, in the order of the spec.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  List<Long> diskBytes() {
    // Not flat, each node would hold all nodes below it.
    JsonNode nodes = qmp.execute("query-named-block-nodes", Map.of("flat", true));
    return IntStream.range(0, launch.spec().disks().size())
        .mapToObj(index -> bytes(nodes, "disk" + index))
        .toList();
  }

  /// By what the guest knows its machine.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  MachineIdentity identity() {
    return MachineIdentity.ask(qmp::execute);
  }

  /// The images that are open, with absolute paths, in a process of this host.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  /// @throws IOException when the process cannot be looked at
  List<AdoptedWords.OpenImage> openImages() throws IOException {
    Path folder = new ForeignProcess(pid()).folder();
    List<AdoptedWords.OpenImage> images = new ArrayList<>();
    qmp.execute("query-named-block-nodes", Map.of())
        .forEach(node ->
            images.add(
                new AdoptedWords.OpenImage(
                    node.path("node-name").asString(""),
                    node.path("drv").asString(""),
                    folder.resolve(node.path("file").asString("")).normalize(),
                    node.path("image").path("virtual-size").asLong(0))));
    return images;
  }

  private static long bytes(JsonNode nodes, String name) {
    for (JsonNode node : nodes) {
      if (node.path("node-name").asString("").equals(name)) {
        return node.path("image").path("virtual-size").asLong(0);
      }
    }
    throw new Qmp.QmpException("there is no block node " + name);
  }

  @Override
  public List<Check> checks() {
    List<Check> checks = new ArrayList<>();
    checks.addAll(new LiveChecks(release.name(), command -> qmp.execute(command, Map.of())).all());
    checks.addAll(process.diskChecks());
    launch.adopted().ifPresent(machine -> checks.add(identityCheck(machine)));
    return checks;
  }

  private Check identityCheck(AdoptedMachine machine) {
    try {
      return new AdoptedWords(machine.words()).identity(release.name(), identity());
    } catch (Qmp.QmpException e) {
      return Check.fail(
          AdoptedWords.CHECK,
          release.name() + " does not answer: " + e.getMessage() + ".",
          "Look at `hyperfresh guest show` and at the hypervisor's log in the guest's folder.");
    }
  }

  @Override
  public Check rehearse(Release to, boolean anew, Consumer<String> begins) {
    return rehearser.rehearse(this, to, anew, begins);
  }

  @Override
  public long populate() {
    return process.populate(memory);
  }

  @Override
  public OptionalLong pageFaults() {
    return process.pageFaults();
  }

  @Override
  public boolean sharesMemory() {
    // A process that is gone is found by its own event.
    return process.sharesMemory(memory) || ended();
  }

  @Override
  public String confinement() {
    return confinement;
  }

  @Override
  public String lastWords() {
    return process.lastWords();
  }

  @Override
  public RunState runState() {
    try {
      return askRunState();
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void wake() {
    ask("system_wakeup");
  }

  @Override
  public void reset() {
    ask("system_reset");
  }

  private void ask(String command) {
    try {
      qmp.execute(command, Map.of());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public OptionalLong ramBytesCopied() {
    JsonNode ram;
    try {
      ram = qmp.execute("query-migrate", Map.of()).path("ram");
    } catch (Qmp.QmpException e) {
      transcript.sent("# query-migrate: " + e.getMessage());
      return OptionalLong.empty();
    }
    // QEMU's `total` counts every RAM block that the migration considered. The guest's RAM is one
    // block, so a smaller total says that it was left out as a whole, and what `normal-bytes`
    // counts are firmware images.
    boolean ramLeftOut = ram.path("total").asLong(Long.MAX_VALUE) < memory.bytes();
    return OptionalLong.of(ramLeftOut ? 0 : ram.path("normal-bytes").asLong(0));
  }

  @Override
  public long stateBytes() {
    // A process that has ended meanwhile counts nothing any more. The channel is a pipe because the
    // kernel counts what is read from one, and not what is received from a socket.
    return Math.max(0, process.bytesRead() - readBefore);
  }

  @Override
  public boolean ended() {
    return process.awaitEnd(Duration.ZERO);
  }

  @Override
  public OptionalLong clocksStoppedMicros() {
    return RunStates.clocksStopped(process.log());
  }

  @Override
  public OptionalLong clocksStartedMicros() {
    return RunStates.clocksStarted(process.log());
  }

  @Override
  public boolean hasAgent() {
    return process.agent().isPresent();
  }

  @Override
  public ClockStep stepClock() {
    return process.agent().map(GuestAgent::stepClock).orElseGet(Instance.super::stepClock);
  }

  @Override
  public void powerOff() {
    try {
      qmp.execute("system_powerdown", Map.of());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because("The guest cannot be asked: " + e.getMessage(), e);
    }
  }

  @Override
  public void end(Duration limit) {
    try {
      // The answer may never come: QEMU ends first.
      qmp.post("quit", Qmp.encode("quit", Map.of(), "quit"));
    } catch (Qmp.QmpException e) {
      transcript.sent("# quit: " + e.getMessage());
    }
    if (!process.awaitEnd(limit)) {
      kill();
    }
    requireEnded();
  }

  @Override
  public void kill() {
    try {
      process.kill();
    } catch (QemuProcess.TroubleException e) {
      throw Problem.INTERNAL.because(
          release.name() + " with pid " + pid() + " cannot be ended: " + e.getMessage(), e);
    }
    requireEnded();
  }

  private void requireEnded() {
    if (!awaitEnded()) {
      throw Problem.INTERNAL.because(
          "The control channel of process " + pid() + ", which is dead, stays open.");
    }
  }

  /// Whether every event of the instance has been delivered, after a wait.
  private boolean awaitEnded() {
    try {
      return ended.await(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  @Override
  public void close() {
    closing = true;
    qmp.close();
    if (!awaitEnded()) {
      transcript.sent("# the reader did not end");
    }
    transcript.writeTo(files.resolve("qmp.log"), release.name() + " generation " + generation);
    process.close();
  }

  private void told(QmpMessage.Event event) {
    tell(event);
    synchronized (changes) {
      changes.incrementAndGet();
      changes.notifyAll();
    }
  }

  private void tell(QmpMessage.Event event) {
    switch (event.name()) {
      case "STOP" -> events.on(new InstanceEvent.Stopped(generation, at(event)));
      case "RESUME" -> {
        expecting = false;
        events.on(new InstanceEvent.Resumed(generation, at(event)));
      }
      case "MIGRATION" -> migration(event);
      case "SHUTDOWN" -> {
        if (event.data().path("guest").asBoolean(false)) {
          events.on(new InstanceEvent.PoweredOff(generation));
        }
      }
      case "RESET" -> events.on(new InstanceEvent.Reset(generation));
      case "SUSPEND", "WAKEUP", "WATCHDOG", "GUEST_PANICKED" ->
          events.on(new InstanceEvent.Changed(generation));
      default -> {}
    }
  }

  private long at(QmpMessage.Event event) {
    return process.hostMicros(event.atMicros());
  }

  private void migration(QmpMessage.Event event) {
    switch (event.data().path("status").asString("")) {
      case "completed" -> {
        handOverOver.countDown();
        if (source) {
          events.on(new InstanceEvent.HandOverSent(generation, at(event)));
        }
      }
      case "failed" -> {
        handOverOver.countDown();
        failed("the migration failed");
      }
      case "cancelled" -> handOverOver.countDown();
      default -> {}
    }
  }

  private void failed(String reason) {
    events.on(new InstanceEvent.HandOverFailed(generation, reason));
  }

  /// The channel is over. On the thread that read it, which has nothing else to do any more.
  private void lost(String reason, boolean all) {
    heardAll &= all;
    if (closing) {
      ended.countDown();
      return;
    }
    if (process.awaitEnd(END_GRACE) || !reconnect(reason)) {
      if (!closing) {
        events.on(new InstanceEvent.Ended(generation, reason));
      }
      ended.countDown();
    }
  }

  /// Opens another channel, however long the process takes to serve it.
  ///
  /// @return false when the process ended instead, or nobody wants it any more
  private boolean reconnect(String reason) {
    heardAll = false;
    transcript.sent("# " + reason + "; the process lives, connecting again");
    while (!closing) {
      try {
        if (reconnected(process.reconnect())) {
          return true;
        }
      } catch (LinuxException | Qmp.QmpException | QemuProcess.TroubleException e) {
        transcript.sent("# " + e.getMessage());
      }
      if (process.awaitEnd(END_GRACE)) {
        return false;
      }
    }
    return false;
  }

  /// Opens a channel and asks on it for what was reported while nobody heard it. One on which that
  /// fails is ended before the next is opened: the process serves one client.
  private boolean reconnected(QemuProcess.Control control) {
    Connection connection = new Connection();
    Qmp next =
        open(
            control.socket(),
            control.kept() ? Qmp.Channel.FOUND : Qmp.Channel.OWN,
            connection,
            RECONNECT_LIMIT);
    try {
      catchUp(next);
      connection.establish();
    } catch (Qmp.QmpException e) {
      transcript.sent("# " + e.getMessage());
      next.close();
      connection.awaitOver();
      return false;
    }
    qmp = next;
    if (closing) {
      next.close();
    }
    events.on(new InstanceEvent.Answering(generation));
    return true;
  }

  private void catchUp(Qmp channel) {
    RunState state = runState(channel);
    String migration =
        channel.execute(TAKE_BACK_LIMIT, "query-migrate", Map.of()).path("status").asString("none");
    // Whoever does not wait for a guest's state any more has it and ran it, whatever it does now.
    if (expecting && state != RunState.AWAITING) {
      expecting = false;
      events.on(new InstanceEvent.Resumed(generation, OptionalLong.empty()));
    }
    if (!UNDER_WAY.contains(migration)) {
      handOverOver.countDown();
    }
    if (source && List.of("failed", "cancelled").contains(migration)) {
      failed("the migration is " + migration);
    }
    // Last of all: a freeze that sees it must also see the events above.
    heardAll = true;
  }
}
