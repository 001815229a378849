package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
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
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// The same replacement as a person with two QEMUs and their manual would do it: the baseline that
/// HyperFresh must not be slower than. It shares nothing with the product but system calls, and
/// takes the arguments of its QEMUs from the product's, so that both run the same machine.
///
/// One thread does all of it. The channel is a pipe, as the product's is; that is why the sockets
/// are not those of `java.nio`, which pass no descriptors.
final class HandDriven implements AutoCloseable {
  private static final int MEMORY_FD = 10;
  private static final int QMP_FD = 11;
  private static final int CONSOLE_FD = 12;

  /// The console's log, kernel and initrd, as the product numbers them.
  private static final int CONSOLE_LOG_FD = 21;

  private static final int KERNEL_FD = 22;
  private static final int INITRD_FD = 23;
  private static final ObjectMapper JSON = JsonMapper.shared();

  private final Path folder;
  private final MemFd memory;
  private final List<String> machine;
  private final Path guestFiles;
  private int generation;
  private Monitor current;

  /// One QEMU and its control channel.
  private static final class Monitor {
    private final ChildProcess process;
    private final UnixSocket socket;
    private final Deque<JsonNode> events = new ArrayDeque<>();
    private final Deque<JsonNode> answers = new ArrayDeque<>();
    private final ByteArrayOutputStream line = new ByteArrayOutputStream();
    private final byte[] chunk = new byte[16 * 1024];

    Monitor(ChildProcess process, Path path) {
      this.process = process;
      this.socket = UnixSocket.connect(path);
      socket.receiveTimeout(Duration.ofSeconds(20));
      command("qmp_capabilities", Map.of());
    }

    void command(String name, Map<String, ?> arguments, Fd... descriptors) {
      socket.send(message(name, arguments), descriptors);
      while (answers.isEmpty()) {
        read();
      }
      JsonNode answer = answers.removeFirst();
      if (!answer.has("return")) {
        throw new AssertionError(name + ": " + answer);
      }
    }

    void capabilities() {
      command(
          "migrate-set-capabilities",
          Map.of(
              "capabilities",
              List.of(
                  Map.of("capability", "x-ignore-shared", "state", true),
                  Map.of("capability", "events", "state", true))));
    }

    /// The hypervisor's own time of the next event of this name, microseconds since 1970.
    long awaitEvent(String name) {
      while (true) {
        while (events.isEmpty()) {
          read();
        }
        JsonNode event = events.removeFirst();
        if (event.path("event").asString().equals(name)) {
          JsonNode at = event.path("timestamp");
          return at.path("seconds").asLong() * 1_000_000 + at.path("microseconds").asLong();
        }
        if (event.path("data").path("status").asString("").equals("failed")) {
          throw new AssertionError("instead of " + name + " came " + event);
        }
      }
    }

    private void read() {
      int count = socket.receive(chunk, new ArrayList<>());
      if (count < 0) {
        throw new AssertionError("QEMU closed its control channel");
      }
      for (int i = 0; i < count; i++) {
        if (chunk[i] != '\n') {
          line.write(chunk[i]);
          continue;
        }
        JsonNode message = JSON.readTree(line.toByteArray());
        line.reset();
        if (message.has("event")) {
          events.addLast(message);
        } else if (!message.has("QMP")) {
          answers.addLast(message);
        }
      }
    }

    void kill() {
      process.kill();
      process.waitFor();
      process.close();
      socket.close();
    }
  }

  private static byte[] message(String name, Map<String, ?> arguments) {
    Map<String, ?> message =
        arguments.isEmpty()
            ? Map.of("execute", name)
            : Map.of("execute", name, "arguments", arguments);
    return (JSON.writeValueAsString(message) + "\n").getBytes(StandardCharsets.UTF_8);
  }

  /// Boots a guest of its own that is the same machine as one of the product's.
  ///
  /// @param pid the hypervisor that runs the product's guest, of release `release`
  HandDriven(Path folder, long memoryBytes, int pid, QemuRelease release) {
    this.folder = folder;
    this.memory = MemFd.create("by-hand", memoryBytes);
    this.machine = machine(pid, release);
    this.guestFiles = guestFiles(pid);
    this.current = start(release, false);
  }

  private List<String> machine(int pid, QemuRelease release) {
    List<String> line = new ArrayList<>(Workspace.arguments(pid));
    int incoming = line.indexOf("-incoming");
    if (incoming >= 0) {
      line.subList(incoming, incoming + 2).clear();
    }
    line.subList(0, 1 + release.arguments().size()).clear();
    return List.copyOf(line);
  }

  /// The folder of the product's guest, beside whose pinned boot files its hypervisor logs.
  private static Path guestFiles(int pid) {
    try {
      return Optional.ofNullable(
              Files.readSymbolicLink(Path.of("/proc", Integer.toString(pid), "fd", "2"))
                  .getParent())
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// The files that the arguments name by number; those that the guest does not have stay away.
  private Map<Integer, Fd> files() {
    Map<Integer, Fd> files = new HashMap<>();
    files.put(
        CONSOLE_LOG_FD,
        Fd.open(
            folder.resolve("console.log"),
            OpenFlags.WRITE_ONLY | OpenFlags.CREATE | OpenFlags.APPEND));
    Map.of(KERNEL_FD, "kernel", INITRD_FD, "initrd")
        .forEach((number, name) -> {
          if (Files.exists(guestFiles.resolve(name))) {
            files.put(number, Fd.open(guestFiles.resolve(name), OpenFlags.READ_ONLY));
          }
        });
    return files;
  }

  private Monitor start(QemuRelease release, boolean waiting) {
    generation++;
    List<String> line = new ArrayList<>(List.of(release.binary().toString()));
    line.addAll(release.arguments());
    line.addAll(machine);
    if (waiting) {
      line.addAll(List.of("-incoming", "defer"));
    }
    String libraries = String.join(":", release.libraries().stream().map(Path::toString).toList());
    Path qmp = folder.resolve(generation + ".qmp");
    ChildProcess process;
    Map<Integer, Fd> descriptors = files();
    List<Fd> files = List.copyOf(descriptors.values());
    try (UnixSocket monitor = UnixSocket.listen(qmp, 0600);
        UnixSocket console = UnixSocket.listen(folder.resolve(generation + ".con"), 0600)) {
      descriptors.putAll(
          Map.of(MEMORY_FD, memory.fd(), QMP_FD, monitor.fd(), CONSOLE_FD, console.fd()));
      process =
          ChildProcess.spawn(
              new ChildProcess.Request(
                  line,
                  Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin", "LD_LIBRARY_PATH", libraries),
                  descriptors,
                  folder.resolve("by-hand-" + generation + ".log"),
                  true));
    } finally {
      files.forEach(Fd::close);
    }
    return new Monitor(process, qmp);
  }

  /// The hypervisor that runs the guest now.
  int pid() {
    return current.process.pid();
  }

  /// Replaces the hypervisor.
  ///
  /// @param quiet how long to rest between preparing and switching, as the product does
  /// @return milliseconds from the old one's STOP to the new one's RESUME, by their own clocks
  double replace(QemuRelease to, Duration quiet) {
    Monitor source = current;
    Monitor target = start(to, true);
    try (Pipe channel = Pipe.open(1 << 20, "channel by hand")) {
      target.command("getfd", Map.of("fdname", "channel"), channel.readEnd());
      target.capabilities();
      target.command("migrate-incoming", Map.of("uri", "fd:channel"));
      source.command("getfd", Map.of("fdname", "channel"), channel.writeEnd());
      source.capabilities();
      source.command(
          "migrate-set-parameters", Map.of("max-bandwidth", 1L << 40, "downtime-limit", 2000));
    }
    Workshop.pause(quiet);
    source.socket.send(message("migrate", Map.of("uri", "fd:channel")));
    long resumed = target.awaitEvent("RESUME");
    long stopped = source.awaitEvent("STOP");
    current = target;
    source.kill();
    return (resumed - stopped) / 1e3;
  }

  @Override
  public void close() {
    current.kill();
    memory.close();
  }
}
