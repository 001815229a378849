package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Exit;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/// libvirt as a process that nothing supervises: it is started again with the words, the
/// environment, the folder and the control groups that it had.
///
/// @param how it was found
/// @param log where it writes what it has to say
record PlainService(LibvirtHost host, Down.How how, Path log) implements LibvirtService {
  private static final int FILE_BYTES = 256 << 10;
  private static final Path GROUPS = Path.of("/sys/fs/cgroup");

  /// How long it may take until it answers, when it has been started.
  private static final Duration BEGIN = Duration.ofSeconds(60);

  private static final Duration LOOK = Duration.ofMillis(50);

  /// What belongs to whoever started it, and not to it.
  private static final List<String> NOT_ITS_OWN =
      List.of("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "INVOCATION_ID");

  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE]
  static PlainService find(LibvirtHost host, Path log) {
    List<Integer> found = running(host);
    if (found.size() != 1) {
      throw Problem.LIBVIRT_SERVICE.because(
          found.isEmpty()
              ? "Neither libvirtd nor virtqemud runs here as this user."
              : "Several of libvirtd and virtqemud run here: processes " + found + ".");
    }
    int pid = found.getFirst();
    try {
      return new PlainService(host, described(host.proc(), pid), log);
    } catch (IOException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          "Process " + pid + " of libvirt cannot be looked at: " + e.getMessage() + ".", e);
    }
  }

  private static List<Integer> running(LibvirtHost host) {
    return new LibvirtProcesses(host.proc()).running();
  }

  private static Down.How described(ProcFs proc, int pid) throws IOException {
    ProcessIdentity process = ProcessIdentity.of(pid);
    Path program =
        new LibvirtProcesses(proc).program(pid).orElseThrow(() -> new IOException("it has ended"));
    List<String> command = new ArrayList<>(List.of(program.toString()));
    List<String> words = texts(proc, pid, "cmdline");
    command.addAll(words.subList(Math.min(1, words.size()), words.size()));
    Map<String, String> environment = new TreeMap<>();
    for (String variable : texts(proc, pid, "environ")) {
      String[] pair = variable.split("=", 2);
      if (pair.length == 2 && !pair[0].isEmpty() && !NOT_ITS_OWN.contains(pair[0])) {
        environment.put(pair[0], pair[1]);
      }
    }
    return new Down.How(
        List.of(),
        command,
        environment,
        Files.readSymbolicLink(proc.of(pid, "cwd")).toString(),
        CgroupPlace.of(proc, GROUPS, pid).folders().stream().map(Path::toString).toList(),
        process);
  }

  /// A file of texts with a null byte behind each.
  private static List<String> texts(ProcFs proc, int pid, String entry) throws IOException {
    byte[] bytes =
        proc.head(pid, entry, FILE_BYTES)
            .filter(all -> all.length < FILE_BYTES)
            .orElseThrow(() -> new IOException(entry + " cannot be read"));
    String text = new String(bytes, StandardCharsets.UTF_8);
    return text.isEmpty() ? List.of() : Arrays.asList(text.split("\0"));
  }

  @Override
  public String words() {
    return Path.of(how.command().getFirst()).getFileName()
        + " (process "
        + how.process().pid()
        + ")";
  }

  @Override
  public void stop() {
    stop(PATIENCE);
  }

  /// As [#stop()].
  void stop(Duration patience) {
    List<Integer> found = running(host);
    if (found.isEmpty()) {
      return;
    }
    try (PidFd process = PidFd.open(found.getFirst())) {
      process.signal(Signals.TERM);
      if (!process.awaitExit(patience)) {
        throw Problem.LIBVIRT_SERVICE.because(
            "libvirt (process %d) was asked to end and has not within %d s; it is not killed."
                .formatted(found.getFirst(), patience.toSeconds()));
      }
    } catch (LinuxException ended) {
      // Between the look and the call.
    }
    if (!running(host).isEmpty()) {
      throw Problem.LIBVIRT_SERVICE.because(
          "libvirt still runs, or something started it again right after it had ended.");
    }
  }

  @Override
  public boolean isStillThere() {
    return how.process().lives();
  }

  /// One that was asked to end may do so at any time.
  @Override
  public void start() {
    if (isStillThere()) {
      throw Problem.LIBVIRT_SERVICE.because(
          words() + " was asked to end and has not yet; it is started again when it has.");
    }
    if (running(host).isEmpty()) {
      begin();
    }
  }

  private void begin() {
    List<String> command = new ArrayList<>(List.of("/usr/bin/env", "--chdir=" + how.folder()));
    command.addAll(how.command());
    try {
      // It goes on without this daemon, so nothing waits for its end but a thread that reaps it.
      ChildProcess child =
          ChildProcess.spawn(
              new ChildProcess.Request(command, how.environment(), Map.of(), log, true));
      Thread reaper =
          Thread.ofPlatform().name("hf-libvirt-end").daemon().unstarted(() -> reap(child));
      try {
        awaitBegun(child);
      } finally {
        reaper.start();
      }
    } catch (LinuxException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          words() + " cannot be started again: " + e.getMessage() + ".", e);
    }
    CgroupPlace groups = new CgroupPlace(how.groups().stream().map(Path::of).toList());
    for (int pid : running(host)) {
      // Where they take none, it is in the daemon's own.
      var _ = groups.holds(pid) ? Optional.<String>empty() : groups.take(pid);
    }
  }

  private static void reap(ChildProcess child) {
    try (child) {
      var _ = child.waitFor();
    }
  }

  /// One that goes into the background ends when it answers; another one answers on its socket.
  private void awaitBegun(ChildProcess child) {
    long deadline = System.nanoTime() + BEGIN.toNanos();
    while (System.nanoTime() < deadline) {
      Optional<Exit> end = child.waitFor(LOOK);
      List<Integer> found = running(host);
      if (!found.isEmpty() && answers()) {
        return;
      }
      if (end.isPresent() && (found.isEmpty() || end.get().code().orElse(-1) != 0)) {
        throw Problem.LIBVIRT_SERVICE.because(
            words() + " ended when it was started again: " + end.get().describe() + ".");
      }
      if (end.isPresent()) {
        var _ = hasEnded(found.getFirst());
      }
    }
    throw Problem.LIBVIRT_SERVICE.because(
        "%s was started again and does not listen within %d s."
            .formatted(words(), BEGIN.toSeconds()));
  }

  /// Whether a process ends within a moment.
  private static boolean hasEnded(int pid) {
    try (PidFd process = PidFd.open(pid)) {
      return process.awaitExit(LOOK);
    } catch (LinuxException gone) {
      return true;
    }
  }

  private boolean answers() {
    Path socket =
        host.run()
            .resolve(
                how.command().getFirst().endsWith("virtqemud") ? "virtqemud-sock" : "libvirt-sock");
    try (UnixSocket _ = UnixSocket.connect(socket)) {
      return true;
    } catch (LinuxException | IllegalArgumentException notYet) {
      return false;
    }
  }
}
