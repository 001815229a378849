package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/// A QEMU that is a process of this host.
final class LocalQemu implements QemuProcess {
  private static final Duration RECONNECT_LIMIT = Duration.ofSeconds(2);
  private static final System.Logger LOG = System.getLogger(LocalQemu.class.getName());
  private static final int LOG_BYTES = 64 * 1024;
  private static final String AGAIN =
      "The next replacement and the next start of the daemon try again.";

  private final HostProcess process;
  private final Launch launch;
  private final Path qmpSocket;
  private final Path console;
  private final Optional<Path> agent;

  /// Takes over `process` and its sockets.
  LocalQemu(
      HostProcess process, Launch launch, Path qmpSocket, Path console, Optional<Path> agent) {
    this.process = process;
    this.launch = launch;
    this.qmpSocket = qmpSocket;
    this.console = console;
    this.agent = agent;
  }

  @Override
  public int pid() {
    return process.pid();
  }

  @Override
  public Control reconnect() {
    return new Control(control(launch, pid(), qmpSocket, RECONNECT_LIMIT), false);
  }

  /// Connects to the control socket of a process. That of one which something else started is where
  /// its user put it.
  ///
  /// @throws LinuxException when nobody serves there
  /// @throws TroubleException when another process does
  static UnixSocket control(Launch launch, int pid, Path socket, Duration limit) {
    return isForeign(launch)
        ? new ForeignProcess(pid)
            .connect(
                socket,
                user(launch),
                limit,
                launch.adopted().filter(machine -> machine.borrowed().isPresent()).isPresent())
        : UnixSocket.connect(socket, limit);
  }

  /// In whose name what the guest's own user names is opened.
  static FileUser user(Launch launch) {
    return launch
        .adopted()
        .flatMap(AdoptedMachine::runAs)
        .map(runAs -> runAs.rights().files())
        .orElse(FileUser.SELF);
  }

  @Override
  public void stop() {
    signal(Signals.STOP);
  }

  @Override
  public boolean stands() {
    return ProcessThreads.allStopped(pid());
  }

  @Override
  public void goOn() {
    signal(Signals.CONT);
  }

  @Override
  public void condemn() {
    signal(Signals.KILL);
  }

  private void signal(int signal) {
    try {
      process.pidFd().signal(signal);
    } catch (LinuxException | ClosedException e) {
      throw new TroubleException(String.valueOf(e.getMessage()), e);
    }
  }

  @Override
  public boolean awaitEnd(Duration limit) {
    return process.awaitEnd(limit);
  }

  @Override
  public void kill() {
    try {
      process.kill();
    } catch (LinuxException | ClosedException e) {
      throw new TroubleException(String.valueOf(e.getMessage()), e);
    }
  }

  @Override
  public long bytesRead() {
    try (Stream<String> lines = Files.lines(Path.of("/proc", Integer.toString(pid()), "io"))) {
      return lines
          .filter(line -> line.startsWith("rchar: "))
          .mapToLong(line -> Long.parseLong(line.substring(7)))
          .findFirst()
          .orElse(0);
    } catch (IOException | UncheckedIOException e) {
      return 0;
    }
  }

  @Override
  public OptionalLong pageFaults() {
    return Host.pageFaults(pid());
  }

  @Override
  public Optional<Path> agent() {
    return agent;
  }

  @Override
  public Optional<String> settle() {
    return new GuestGroups(launch, pid()).settle();
  }

  @Override
  public Optional<String> settleTpm() {
    return tpm(
        launch,
        "The state of its TPM is not where it was before",
        AGAIN,
        folders -> folders.settle(launch.generation()));
  }

  @Override
  public Optional<String> keepTpm() {
    return tpm(
        launch,
        "The state that another instance has of its TPM cannot be removed",
        "The next start could take it for the newest.",
        folders -> folders.forgetOthers(launch.generation()));
  }

  @Override
  public Optional<Check> tpmCheck() {
    return GuestTpm.of(launch).map(GuestTpm::check);
  }

  /// What is done with folders.
  private interface Work {
    void on(TpmFolders folders) throws IOException;
  }

  private static Optional<String> tpm(Launch launch, String otherwise, String so, Work work) {
    Optional<TpmFolders> folders = Swtpm.folders(launch);
    if (folders.isEmpty()) {
      return Optional.empty();
    }
    try {
      work.on(folders.get());
      return Optional.empty();
    } catch (IOException | LinuxException e) {
      return Optional.of(otherwise + ": " + e.getMessage() + ". " + so);
    }
  }

  /// Removes what an instance got of the guest's TPM that never had the guest.
  private static void discardTpm(Launch launch) {
    clearTpm(launch, folders -> folders.discard(launch.generation()));
  }

  /// Removes what was made for the TPM of an instance that did not start.
  static void abandonTpm(Launch launch) {
    clearTpm(launch, folders -> folders.abandon(launch.generation()));
  }

  private static void clearTpm(Launch launch, Work work) {
    tpm(
            launch,
            "What generation " + launch.generation() + " got of a TPM is still there",
            AGAIN,
            work)
        .ifPresent(amiss -> LOG.log(System.Logger.Level.WARNING, amiss));
  }

  @Override
  public List<Check> diskChecks() {
    return new DiskChecks(
            Seed.disks(launch), Path.of("/proc", Integer.toString(pid())), Path.of("/proc/locks"))
        .all();
  }

  @Override
  public String confinement() {
    return QemuUser.describe(launch, pid());
  }

  @Override
  public String lastWords() {
    return Qemu.lastLines(Qemu.log(launch.files(), launch.generation()), "");
  }

  @Override
  public String log() {
    ByteBuffer end = ByteBuffer.allocate(LOG_BYTES);
    try (FileChannel log =
        FileChannel.open(Qemu.log(launch.files(), launch.generation()), StandardOpenOption.READ)) {
      log.position(Math.max(0, log.size() - LOG_BYTES));
      while (end.hasRemaining() && log.read(end) >= 0) {
        // A file may give less than it has.
      }
      return StandardCharsets.ISO_8859_1.decode(end.flip()).toString();
    } catch (IOException e) {
      // That of an adopted guest is elsewhere.
      return "";
    }
  }

  private boolean hasNotRun() {
    return RunStates.ofLog(Qemu.log(launch.files(), launch.generation()))
        .filter(Boolean.FALSE::equals)
        .isPresent();
  }

  @Override
  public void leave() {
    removeSockets();
    removeGroup();
    BesideSocket.sweep(launch, user(launch));
    process.leave();
  }

  @Override
  public void close() {
    // Reaps the process if it has ended; if it lives, it goes on without us.
    boolean ended = awaitEnd(Duration.ZERO);
    if (ended) {
      removeSockets();
      if (!isForeign(launch) && hasNotRun()) {
        discardTpm(launch);
      }
    }
    process.close();
    if (ended) {
      removeGroup();
    }
  }

  /// Those of the process that something else started are not ours.
  private void removeSockets() {
    if (!isForeign(launch)) {
      Qemu.removeSockets(launch, qmpSocket, console);
      ScreenSocket.of(launch).ifPresent(ScreenSocket::removeIfLeft);
    }
  }

  /// What serves the process is in it, too, and has ended after it.
  private void removeGroup() {
    if (!isForeign(launch)) {
      new GuestGroups(launch, pid()).removeOwn();
    }
  }

  private static boolean isForeign(Launch launch) {
    return launch.adopted().isPresent() && AdoptedMachine.isFirst(launch.generation());
  }
}
