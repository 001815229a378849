package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.Background;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.ParentDeath;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.Tap;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/// One rehearsal of a replacement: a twin of a guest's machine hands over to a target, by the same
/// commands as in earnest. Twin and target are real QEMUs with the guest's devices, and have
/// scratch memory and nothing of the guest's behind the devices ([Backends.OfRehearsal]). Neither
/// executes an instruction, so that nothing is written to the memory but firmware tables.
///
/// The twin's devices are as after a reset. A state that devices reach only in use, and that one
/// release saves otherwise than the other, is not seen here.
///
/// ```
/// twin, paused ── pipe ──▶ target, -incoming
///        └── both map the same scratch memory ──┘
/// ```
final class Rehearsal {
  /// After which it is given up, in all: half a second is usual, 5 s were seen on a host where
  /// eight processes wanted each core.
  static final Duration LIMIT = Duration.ofSeconds(20);

  /// How long twin and target wait for everybody else: what is left of [#LIMIT] is enough for them
  /// as ordinary processes.
  static final Duration IN_BACKGROUND = Duration.ofSeconds(5);

  private static final System.Logger LOG = System.getLogger(Rehearsal.class.getName());

  /// As in earnest: more than the state.
  private static final int CHANNEL_BYTES = 1 << 20;

  private static final int MOST_DIFFERENCES = 3;
  private static final Duration LAST_WORDS = Duration.ofSeconds(1);

  /// What stands behind the devices in place of what is the guest's.
  ///
  /// @param diskBytes what each disk holds, of a guest that HyperFresh built
  /// @param words the command line with stand-ins, of one that was adopted
  record Scenery(List<Long> diskBytes, List<String> words) {
    Scenery {
      diskBytes = List.copyOf(diskBytes);
      words = List.copyOf(words);
    }
  }

  /// One of the two processes did not do its part.
  private static final class Trouble extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final transient Side side;

    Trouble(Side side, String reason) {
      super(reason);
      this.side = side;
    }
  }

  private final Launch guest;
  private final QemuRelease from;
  private final QemuRelease to;
  private final MachineIdentity identity;
  private final Scenery scenery;

  /// Whether the command line says all that the guest's processor has.
  private final boolean pinned;

  private final long start = Clock.monotonicNanos();
  private final Deque<Runnable> undo = new ArrayDeque<>();
  private Optional<Side> twin = Optional.empty();

  /// @param guest how the running instance was started
  /// @param from its release
  /// @param identity by what the guest knows its machine
  Rehearsal(
      Launch guest, QemuRelease from, QemuRelease to, MachineIdentity identity, Scenery scenery) {
    this.guest = guest;
    this.from = from;
    this.to = to;
    this.identity = identity;
    this.scenery = scenery;
    this.pinned = new AdoptedWords(scenery.words()).pinProcessor();
  }

  /// Rehearses once. An interrupt ends it as [Rehearsed.Impossible]; both processes are killed
  /// then.
  Rehearsed run() {
    try {
      // Both processes end with the thread that starts them, so all is done on that.
      return guest.confinement().within(this::rehearsed);
    } catch (LinuxException | UncheckedIOException e) {
      return new Rehearsed.Impossible("this host does not allow it: " + e.getMessage());
    }
  }

  private Rehearsed rehearsed() {
    try {
      return rehearse();
    } catch (Trouble e) {
      if (Thread.currentThread().isInterrupted()) {
        return new Rehearsed.Impossible("it was given up");
      }
      return blame(e.side, String.valueOf(e.getMessage()));
    } catch (LinuxException | IOException e) {
      return new Rehearsed.Impossible("this host does not allow it: " + e.getMessage());
    } finally {
      undo.forEach(Rehearsal::contained);
    }
  }

  private static void contained(Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      LOG.log(System.Logger.Level.WARNING, "a rehearsal could not be cleaned up", e);
    }
  }

  private <T> T owned(T resource, Runnable release) {
    undo.addFirst(release);
    return resource;
  }

  private Rehearsed rehearse() throws IOException {
    Optional<String> closed = QemuUser.obstacle(guest, to);
    if (closed.isPresent()) {
      return new Rehearsed.Rejected(closed.get() + ".");
    }
    GuestMemory scratch = guest.memory().scratch("hf-rehearsal-" + guest.spec().name());
    owned(scratch, scratch::close);
    List<Fd> taps = taps();
    boolean connected = taps.size() == 2 * queues();
    var backends = new Backends.OfRehearsal(scenery.diskBytes(), UefiFiles.of(guest), connected);
    twin = Optional.of(start(from, false, scratch, taps, backends));
    Side target = start(to, true, scratch, taps, backends);
    twin.get().open();
    target.open();
    Optional<Rehearsed> unfit = another(twin.get(), target).or(() -> unlistening(target));
    if (unfit.isPresent()) {
      return unfit.get();
    }
    handOver(twin.get(), target);
    return switch (target.verdict(remaining())) {
      case "completed" ->
          new Rehearsed.Passed(
              (Clock.monotonicNanos() - start) / 1_000_000,
              connected ? "" : " whose cards were connected to nothing");
      case String other -> throw new Trouble(target, "the migration " + other);
    };
  }

  private int queues() {
    return AdoptedMachine.queues(guest.spec(), guest.adopted()).stream()
        .mapToInt(Integer::intValue)
        .sum();
  }

  /// A tap of its own for every queue of twin and target; none at all where that is not allowed.
  private List<Fd> taps() {
    List<Fd> taps = new ArrayList<>();
    try {
      for (int i = 0; i < 2 * queues(); i++) {
        Fd tap = Tap.throwAway("rehearsal of " + guest.spec().name());
        taps.add(owned(tap, () -> Tap.deleteThrowAway(tap)));
      }
      return taps;
    } catch (LinuxException e) {
      LOG.log(System.Logger.Level.DEBUG, "cards are rehearsed without taps", e);
      return List.of();
    }
  }

  private Side start(
      QemuRelease release,
      boolean waiting,
      GuestMemory scratch,
      List<Fd> taps,
      Backends.OfRehearsal how)
      throws IOException {
    Path log = Files.createTempFile(guest.files(), GuestProcesses.REHEARSAL, ".log");
    owned(log, () -> Qemu.removeSockets(log));
    List<Fd> own =
        waiting ? taps.subList(taps.size() / 2, taps.size()) : taps.subList(0, taps.size() / 2);
    Launch launch =
        new Launch(
            guest.spec(),
            release,
            guest.accelerator(),
            scratch,
            own,
            guest.files(),
            guest.sockets(),
            0,
            // Not in the guest's cgroup, whose bounds are made for the guest and one more.
            new Confinement(
                guest.confinement().user(), Optional.empty(), "", guest.confinement().network()),
            _ -> {},
            guest.adopted().map(machine -> standIn(machine, !taps.isEmpty())));
    List<String> program =
        QemuUser.of(launch).labelled(CommandLine.ofRehearsal(launch, release, waiting, how));
    List<String> command = ParentDeath.ends(program);
    Optional<Swtpm> tpm = Swtpm.rehearse(launch, log);
    tpm.ifPresent(swtpm -> undo.addFirst(() -> swtpm.forget(log)));
    Side side = spawn(command, launch, log, tpm);
    owned(side, side::close);
    Background background = Background.of(side.process.pid(), IN_BACKGROUND);
    owned(background, background::close);
    return side;
  }

  private AdoptedMachine standIn(AdoptedMachine machine, boolean connected) {
    return machine.with(connected ? scenery.words() : AdoptedWords.unconnected(scenery.words()));
  }

  private Side spawn(List<String> command, Launch launch, Path log, Optional<Swtpm> tpm) {
    QemuRelease release = (QemuRelease) launch.release();
    QemuUser user = QemuUser.of(launch);
    UnixSocket.Pair control = UnixSocket.pair();
    try (HandedFiles files = HandedFiles.openBoot(launch)) {
      Map<Integer, Fd> descriptors = new HashMap<>(files.descriptors());
      descriptors.putAll(Descriptors.of(launch));
      descriptors.put(Descriptors.QMP, control.right().fd());
      tpm.ifPresent(swtpm -> descriptors.put(Descriptors.TPM, swtpm.control()));
      ChildProcess child =
          ChildProcess.spawn(
              new ChildProcess.Request(
                  user.command(command, release),
                  user.environment(release),
                  descriptors,
                  log,
                  true));
      return new Side(HostProcess.of(child), control.left(), log);
    } catch (LinuxException e) {
      control.left().close();
      throw e;
    } finally {
      // A process that dies must end the connection.
      control.right().close();
      tpm.ifPresent(Swtpm::close);
    }
  }

  /// What the guest would find to be another machine, or would not fit it, though it fits the twin.
  private Optional<Rehearsed> another(Side twin, Side target) {
    MachineIdentity built = target.identity();
    List<String> there = new ArrayList<>(identity.differences(built, to.name()));
    if (pinned) {
      there.addAll(identity.processor().differences(built.processor(), to.name()));
    }
    if (!there.isEmpty()) {
      return Optional.of(
          new Rehearsed.Rejected(
              to.name()
                  + " builds a different machine from the one that the guest has: "
                  + few(there)
                  + "."));
    }
    List<String> here = identity.blockDifferences(twin.identity(), "a twin on it");
    return here.isEmpty()
        ? Optional.empty()
        : Optional.of(
            new Rehearsed.Impossible(
                "the firmware of "
                    + from.name()
                    + " was changed since the guest started, so a twin has different firmware: "
                    + few(here)));
  }

  /// Whether the target could not take over the guest's VNC server: QEMU before 7.1 cannot.
  private Optional<Rehearsed> unlistening(Side target) {
    // Not by the stand-ins, which listen nowhere.
    boolean listens =
        CommandLine.takenLater(guest).vnc().filter(vnc -> !vnc.addresses().isEmpty()).isPresent();
    if (!listens && guest.spec().devices().screen().isEmpty()) {
      return Optional.empty();
    }
    try {
      target.execute("display-update", Map.of("type", "vnc", "addresses", List.of()));
      return Optional.empty();
    } catch (Trouble e) {
      if (remaining().isZero() || Thread.currentThread().isInterrupted()) {
        // It says nothing of the target's VNC server.
        throw e;
      }
      return Optional.of(
          new Rehearsed.Rejected(
              to.name() + " cannot take over the guest's VNC server: " + e.getMessage() + "."));
    }
  }

  private static String few(List<String> sentences) {
    int more = sentences.size() - MOST_DIFFERENCES;
    return String.join("; ", sentences.subList(0, Math.min(sentences.size(), MOST_DIFFERENCES)))
        + (more > 0 ? "; and " + more + " more" : "");
  }

  private void handOver(Side twin, Side target) {
    try (Pipe channel = Pipe.open(CHANNEL_BYTES, "rehearsal of " + guest.spec().name())) {
      target.execute("getfd", Map.of("fdname", Migration.CHANNEL), channel.readEnd());
      target.execute("migrate-set-capabilities", Migration.CAPABILITIES);
      target.execute("migrate-incoming", Map.of("uri", "fd:" + Migration.CHANNEL));
      twin.execute("getfd", Map.of("fdname", Migration.CHANNEL), channel.writeEnd());
      twin.execute("migrate-set-capabilities", Migration.CAPABILITIES);
      twin.execute("migrate-set-parameters", Migration.PARAMETERS);
      twin.execute("migrate", Map.of("uri", "fd:" + Migration.CHANNEL));
    }
  }

  /// Whose fault it is, told in the words of that process, which say more than how the other one
  /// learned of it. Of a twin that fails the target is not to blame.
  private Rehearsed blame(Side side, String reason) {
    boolean late = remaining().isZero();
    boolean twinFailed = twin.isEmpty() || side == twin.get() || twin.get().isOver();
    if (twinFailed) {
      String words = twin.map(Side::lastWords).filter(said -> !said.isEmpty()).orElse(reason);
      return new Rehearsed.Impossible("a twin on " + from.name() + " failed: " + words);
    }
    String said = side.saidOr(reason);
    Set<String> missing = pinned ? side.missing() : Set.of();
    if (!missing.isEmpty()) {
      return new Rehearsed.Rejected(
          to.name()
              + " does not offer what the guest's processor has: "
              + String.join(", ", missing)
              + ".");
    }
    String pair = "the state of the guest's machine on " + from.name();
    return late
        ? new Rehearsed.TooSlow(
            to.name() + " did not take " + pair + " within " + LIMIT.toSeconds() + " s.")
        : new Rehearsed.Rejected(to.name() + " rejects " + pair + ": " + said + ".");
  }

  private Duration remaining() {
    long left = LIMIT.toNanos() - (Clock.monotonicNanos() - start);
    return Duration.ofNanos(Math.max(0, left));
  }

  /// One of the two processes. For one thread.
  private final class Side implements Qmp.Listener {
    private final HostProcess process;
    private final UnixSocket socket;
    private final Path log;
    private final CompletableFuture<String> verdict = new CompletableFuture<>();
    private final CountDownLatch ended = new CountDownLatch(1);
    private Optional<Qmp> channel = Optional.empty();
    private boolean opened;

    /// Takes over the process and the socket that leads to its control channel.
    Side(HostProcess process, UnixSocket socket, Path log) {
      this.process = process;
      this.socket = socket;
      this.log = log;
    }

    void open() {
      opened = true;
      try {
        String name = "rehearsal-" + guest.spec().name();
        channel = Optional.of(Qmp.open(socket, name, new Transcript(), this, remaining()));
      } catch (Qmp.QmpException e) {
        throw new Trouble(this, String.valueOf(e.getMessage()));
      }
    }

    void execute(String command, Map<String, ?> arguments, Fd... descriptors) {
      try {
        channel.orElseThrow().execute(remaining(), command, arguments, descriptors);
      } catch (Qmp.QmpException e) {
        throw new Trouble(this, String.valueOf(e.getMessage()));
      }
    }

    MachineIdentity identity() {
      try {
        return MachineIdentity.ask(
            (command, arguments) -> channel.orElseThrow().execute(remaining(), command, arguments));
      } catch (Qmp.QmpException e) {
        throw new Trouble(this, String.valueOf(e.getMessage()));
      }
    }

    /// How its migration ended: `completed`, `failed`, or why that is not known.
    String verdict(Duration limit) {
      try {
        return verdict.get(limit.toNanos(), TimeUnit.NANOSECONDS);
      } catch (TimeoutException e) {
        return "did not end";
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return "was interrupted";
      } catch (ExecutionException e) {
        throw new IllegalStateException("a verdict is always a word", e);
      }
    }

    boolean isOver() {
      return ended.getCount() == 0;
    }

    /// What it printed, or `otherwise`; one that is about to end has the time to say why.
    String saidOr(String otherwise) {
      process.awaitEnd(LAST_WORDS.compareTo(remaining()) < 0 ? LAST_WORDS : remaining());
      String words = lastWords();
      return words.isEmpty() ? otherwise : words;
    }

    String lastWords() {
      return Qemu.lastLines(log, "");
    }

    /// The features that it said it does not offer.
    Set<String> missing() {
      try {
        return LiveProcessor.missing(new LogFile(log).lastLines());
      } catch (IOException e) {
        return Set.of();
      }
    }

    @Override
    public void event(QmpMessage.Event event) {
      String status = event.data().path("status").asString("");
      if (event.name().equals("MIGRATION")
          && (status.equals("completed") || status.equals("failed"))) {
        verdict.complete(status);
      }
    }

    @Override
    public void ended(String reason, boolean heardAll) {
      verdict.complete("ended with its process");
      ended.countDown();
    }

    void close() {
      contained(process::kill);
      contained(process::close);
      if (!opened) {
        socket.close();
        return;
      }
      channel.ifPresent(Qmp::close);
      try {
        // The reader lets go of the socket.
        if (!ended.await(LIMIT.toSeconds(), TimeUnit.SECONDS)) {
          LOG.log(System.Logger.Level.WARNING, "the channel of a rehearsal stays open");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
