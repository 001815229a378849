package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.ProcessFacts;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.linux.WriteBack;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Consumer;
import tools.jackson.databind.JsonNode;

/// One QEMU, wherever its process is. See [Instance] for the order of calls.
///
/// Its end is the end of its process: a control channel that is lost while the process lives is
/// opened again ([QemuChannel]). What it does as the source and as the target of a hand-over stands
/// in [QemuSource] and [QemuTarget], what it reports in [QemuReports].
final class QemuInstance implements Instance {
  /// How long the guest's disks may take for what it has written. It runs meanwhile.
  private static final Duration DISKS_LIMIT = Duration.ofMinutes(1);

  private final Launch launch;
  private final Release release;
  private final QemuProcess process;
  private final Path console;
  private final GuestMemory memory;
  private final Rehearser rehearser;
  private final QemuChannel channel;
  private final QemuVcpus vcpus;
  private final QemuSource source;
  private final QemuTarget target;
  private final SpiceDoor door;
  private String confinement;

  /// Takes over `process` and its control channel.
  ///
  /// @param control connected to the process; it belongs to this object even when this throws
  /// @param owner whose the control channel is
  /// @param patience how long the answer to a command is awaited; a process that is starting has
  ///   longer
  /// @throws Qmp.QmpException when it does not answer; the caller still owns the process
  QemuInstance(
      Launch launch,
      QemuProcess process,
      UnixSocket control,
      Qmp.Channel owner,
      Path console,
      Rehearser rehearser,
      ControlWatcher watcher,
      Duration patience) {
    this.launch = launch;
    this.release = launch.release();
    this.process = process;
    this.console = console;
    this.memory = launch.memory();
    this.rehearser = rehearser;
    QemuReports reports = new QemuReports(launch.generation(), launch.events(), process);
    this.channel = new QemuChannel(launch, process, reports, control, owner, watcher, patience);
    this.vcpus = new QemuVcpus(release.name(), process, channel, reports);
    this.source =
        new QemuSource(release.name(), process, channel, reports, vcpus, copiesMemory(launch));
    this.target = new QemuTarget(release.name(), process, channel, reports);
    this.door = new SpiceDoor(launch.spec().name(), channel::qmp);
    // The greeting came, so the process is QEMU by now, with the rights that it keeps.
    this.confinement = process.confinement();
  }

  /// Also one that an earlier daemon has set up for it.
  private static boolean copiesMemory(Launch launch) {
    return AdoptedMachine.isFirst(launch.generation())
        && launch.adopted().filter(AdoptedMachine::hasPrivateMemory).isPresent();
  }

  @Override
  public int generation() {
    return launch.generation();
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
  public void expect(Fd pipe) {
    target.expect(pipe);
  }

  @Override
  public void connect(Fd pipe) {
    source.connect(pipe);
  }

  @Override
  public void expectWithMemory(Fd pipe) {
    target.expectWithMemory(pipe);
  }

  @Override
  public void connectWithMemory(Fd pipe, Duration maxDowntime) {
    source.connectWithMemory(pipe, maxDowntime);
  }

  @Override
  public MemoryCopy.Status copied() {
    return source.copied();
  }

  @Override
  public void handOver() {
    door.hold();
    source.handOver();
  }

  @Override
  public void freeze() {
    target.freeze();
  }

  @Override
  public void thaw() {
    target.thaw();
  }

  @Override
  public void condemn() {
    target.condemn();
  }

  @Override
  public void takeBack() {
    source.takeBack();
    door.release();
  }

  @Override
  public void withdraw() {
    source.withdraw();
    door.release();
  }

  @Override
  public void resume() {
    process
        .keepTpm()
        .ifPresent(amiss -> {
          throw Problem.REPLACE_STANDS.because(amiss);
        });
    try {
      vcpus.goOn(_ -> false);
    } catch (Qmp.QmpException e) {
      throw vcpus.standing(e);
    }
  }

  /// What it was started with.
  Launch launch() {
    return launch;
  }

  /// How many bytes the guest sees of each disk of its spec, in the order of the spec, and then of
  /// its seed.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  List<Long> diskBytes() {
    return new BlockNodes(channel.qmp()).diskBytes(Seed.disks(launch).size());
  }

  /// By what the guest knows its machine.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  MachineIdentity identity() {
    return MachineIdentity.ask(channel.qmp()::execute);
  }

  /// The images that are open, with absolute paths, in a process of this host.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  /// @throws IOException when the process cannot be looked at
  List<AdoptedWords.OpenImage> openImages() throws IOException {
    return new BlockNodes(channel.qmp()).images(pid());
  }

  @Override
  public List<Check> checks() {
    List<Check> checks = new ArrayList<>();
    LiveChecks live =
        new LiveChecks(release.name(), command -> channel.qmp().execute(command, Map.of()));
    checks.addAll(live.all());
    checks.addAll(process.diskChecks());
    process
        .tpmCheck()
        .ifPresent(tpm -> {
          checks.add(tpm);
          checks.add(live.tpm());
        });
    launch
        .adopted()
        .ifPresent(machine -> {
          checks.add(identityCheck(machine));
          new AdoptedWords(machine.words())
              .vhost()
              .ifPresent(
                  vhost -> checks.add(vhost.check(VhostNet.isUsable(LocalQemu.user(launch)))));
        });
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

  /// Of one in a machine, in the process that is the machine's hardware: in the machine itself the
  /// whole window is in the page tables as soon as it is mapped, because it is a device there.
  @Override
  public long populate() {
    return memory.populate(pid());
  }

  /// QEMU flushes every disk when it stops a guest. Of one in a machine this is done in the process
  /// that is the machine's hardware, which has the disks.
  @Override
  public void writeBack() {
    boolean done;
    try {
      done = WriteBack.of(pid(), DISKS_LIMIT);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Problem.REPLACE_PREPARE.because("It was interrupted before its turn to switch.", e);
    }
    if (!done) {
      throw Problem.REPLACE_PREPARE.because(
          "The guest's disks did not take within "
              + DISKS_LIMIT.toSeconds()
              + " s what the guest has written, and it would stand for as long. Try again when"
              + " they are less busy.");
    }
  }

  @Override
  public OptionalLong pageFaults() {
    return process.pageFaults();
  }

  @Override
  public boolean sharesMemory() {
    // A process that is gone is found by its own event.
    return memory.isSharedBy(pid()) || ended();
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
      return vcpus.state();
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
      channel.qmp().execute(command, Map.of());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public Optional<String> settle() {
    Optional<String> why = process.settle();
    confinement = process.confinement();
    return why.map(half ->
        "It is not in the control groups that the guest was in: "
            + half
            + ". The next replacement and the next start of the daemon try again.");
  }

  @Override
  public Optional<String> takeAddresses() {
    List<String> amiss = new ArrayList<>(settle().stream().toList());
    if (launch.adopted().isPresent() && AdoptedMachine.isFirst(launch.generation())) {
      return joined(amiss);
    }
    process.settleTpm().ifPresent(amiss::add);
    FileUser user = LocalQemu.user(launch);
    List<TakenLater> later = new ArrayList<>();
    BesideSocket.of(launch).stream()
        .map(monitor -> later("Its monitor", monitor, user))
        .forEach(later::add);
    BesideSocket.ofSpice(launch)
        .map(server -> later("Its SPICE server", server, user))
        .ifPresent(later::add);
    door.takenLater(launch).ifPresent(later::add);
    ScreenPassword.of(launch).map(ScreenPassword::takenLater).ifPresent(later::add);
    later.addAll(CommandLine.takenLater(launch).takenLater(user));
    ScreenSocket.of(launch).map(socket -> socket.takenLater(channel.qmp())).ifPresent(later::add);
    later.stream().flatMap(taken -> taken.take(this::ask, pid()).stream()).forEach(amiss::add);
    return joined(amiss);
  }

  private static Optional<String> joined(List<String> sentences) {
    return sentences.isEmpty() ? Optional.empty() : Optional.of(String.join(" ", sentences));
  }

  private static TakenLater later(String what, BesideSocket socket, FileUser user) {
    return new TakenLater(
        what + " does not listen as before, at " + socket.path(), "", (_, _) -> socket.take(user));
  }

  @Override
  public ProcessFacts handBack() {
    try {
      Migration.unprepare(this::ask);
      ProcessFacts facts = QemuFacts.ask(this::ask, program());
      // Its folder is another one in a moment.
      channel.writeDown();
      return facts;
    } catch (Qmp.QmpException | IOException e) {
      throw Problem.GUEST_STATE.because(release.name() + ": " + e.getMessage(), e);
    }
  }

  /// Of one that was started as a release, that of the release: a loader may run it.
  private Path program() throws IOException {
    return release instanceof QemuRelease qemu && !AdoptedMachine.isFirst(launch.generation())
        ? qemu.binary()
        : Files.readSymbolicLink(new ForeignProcess(pid()).program());
  }

  private JsonNode ask(String command, Map<String, ?> arguments) {
    return channel.qmp().execute(command, arguments);
  }

  @Override
  public OptionalLong ramBytesCopied() {
    return source.ramBytesCopied(memory.leastBytes());
  }

  @Override
  public long stateBytes() {
    return target.stateBytes();
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
      channel.qmp().execute("system_powerdown", Map.of());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because("The guest cannot be asked: " + e.getMessage(), e);
    }
  }

  @Override
  public void end(Duration limit) {
    try {
      // The answer may never come: QEMU ends first.
      channel.qmp().post("quit", Qmp.encode("quit", Map.of(), "quit"));
    } catch (Qmp.QmpException e) {
      channel.note("quit: " + e.getMessage());
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
    if (!channel.awaitEnded()) {
      throw Problem.INTERNAL.because(
          "The control channel of process " + pid() + ", which is dead, stays open.");
    }
  }

  @Override
  public void leave() {
    door.close();
    channel.end();
    process.leave();
  }

  @Override
  public void close() {
    door.close();
    channel.close();
    process.close();
  }
}
