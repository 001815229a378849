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
import java.time.Instant;
import java.time.temporal.ChronoUnit;
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

/// The same guest as one of HyperFresh's, whose QEMU is replaced in a way that people have without
/// it: what HyperFresh is measured against. It shares nothing with the product but system calls,
/// and takes the arguments of its QEMUs from the product's, so that both run the same machine.
///
/// One thread does all of it. The channel is a pipe, as the product's is; that is why the sockets
/// are not those of `java.nio`, which pass no descriptors.
final class RivalQemu implements AutoCloseable {
  private static final int MEMORY_FD = 10;
  private static final int QMP_FD = 11;
  private static final int CONSOLE_FD = 12;

  /// The console's log, kernel and initrd, as the product numbers them.
  private static final int CONSOLE_LOG_FD = 21;

  private static final int KERNEL_FD = 22;
  private static final int INITRD_FD = 23;

  /// More than any of them writes in a second.
  private static final long NO_CAP = 1L << 40;

  private static final ObjectMapper JSON = JsonMapper.shared();

  private final Path folder;
  private final Way way;
  private final long memoryBytes;
  private final List<String> machine;
  private final Path guestFiles;
  private MemFd memory;
  private int generation;
  private Monitor current;

  /// How a guest gets from one QEMU to the next on the same host.
  enum Way {
    /// Both map the same memory, as a person with two QEMUs and their manual would do it.
    BY_HAND("two QEMUs by hand, memory shared", true),

    /// QEMU's migration as it is if nothing is set.
    PRE_COPY("QEMU's migration, as found", false),

    /// The same without its cap on bandwidth.
    PRE_COPY_NO_CAP("QEMU's migration, no cap", false),

    /// Saved to a file and restored from there.
    FILE("saved to a file and restored", false),

    /// QEMU's own way to restart itself, from 8.2 on: the memory stays, and the state goes to a
    /// file.
    CPR_REBOOT("QEMU's cpr-reboot", true);

    private final String label;
    private final boolean sharesMemory;

    Way(String label, boolean sharesMemory) {
      this.label = label;
      this.sharesMemory = sharesMemory;
    }

    /// In a few words, for people.
    String label() {
      return label;
    }

    private boolean isThroughFile() {
      return this == FILE || this == CPR_REBOOT;
    }

    private Map<String, Object> parameters() {
      return switch (this) {
        case PRE_COPY -> Map.of();
        case BY_HAND -> Map.of("max-bandwidth", NO_CAP, "downtime-limit", 2000);
        case PRE_COPY_NO_CAP, FILE -> Map.of("max-bandwidth", NO_CAP);
        case CPR_REBOOT -> Map.of("max-bandwidth", NO_CAP, "mode", "cpr-reboot");
      };
    }
  }

  /// One replacement.
  ///
  /// @param blackoutMs from the old one's STOP to the new one's RESUME, by their own clocks
  /// @param moveMs from the order to move until RESUME
  /// @param ramBytes of the guest's memory that were sent
  record Move(double blackoutMs, double moveMs, long ramBytes) {}

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

    JsonNode command(String name, Map<String, ?> arguments, Fd... descriptors) {
      socket.send(message(name, arguments), descriptors);
      while (answers.isEmpty()) {
        read();
      }
      JsonNode answer = answers.removeFirst();
      if (!answer.has("return")) {
        throw new IllegalStateException(name + ": " + answer);
      }
      return answer.path("return");
    }

    void set(Way way) {
      command(
          "migrate-set-capabilities",
          Map.of(
              "capabilities",
              List.of(
                  Map.of("capability", "x-ignore-shared", "state", way.sharesMemory),
                  Map.of("capability", "events", "state", true))));
      if (!way.parameters().isEmpty()) {
        command("migrate-set-parameters", way.parameters());
      }
    }

    /// The hypervisor's own time of the next event of this name, microseconds since 1970.
    ///
    /// @param deadline by [System#nanoTime]
    long awaitEvent(String name, long deadline) {
      while (true) {
        JsonNode event = next(deadline);
        if (event.path("event").asString().equals(name)) {
          return micros(event);
        }
        requireNotFailed(event, name);
      }
    }

    /// Waits until the migration has sent everything; other events stay.
    void awaitSent(long deadline) {
      Deque<JsonNode> others = new ArrayDeque<>();
      while (true) {
        JsonNode event = next(deadline);
        requireNotFailed(event, "the end of the migration");
        if (event.path("data").path("status").asString("").equals("completed")) {
          others.forEach(events::addLast);
          return;
        }
        others.addLast(event);
      }
    }

    private JsonNode next(long deadline) {
      while (events.isEmpty()) {
        Duration left = Duration.ofNanos(Math.max(0, deadline - System.nanoTime()));
        if (!socket.fd().pollReadable(left)) {
          throw new TooLongException();
        }
        read();
      }
      return events.removeFirst();
    }

    private static void requireNotFailed(JsonNode event, String awaited) {
      if (event.path("data").path("status").asString("").equals("failed")) {
        throw new IllegalStateException("instead of " + awaited + " came " + event);
      }
    }

    private static long micros(JsonNode event) {
      JsonNode at = event.path("timestamp");
      return at.path("seconds").asLong() * 1_000_000 + at.path("microseconds").asLong();
    }

    private void read() {
      int count = socket.receive(chunk, new ArrayList<>());
      if (count < 0) {
        throw new IllegalStateException("QEMU closed its control channel");
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

  /// A move did not come to its end in time.
  private static final class TooLongException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /// A hypervisor of the product whose machine is built once more.
  record Model(int pid, QemuRelease release) {
    private List<String> machine() {
      List<String> line = new ArrayList<>(arguments(pid));
      int incoming = line.indexOf("-incoming");
      if (incoming >= 0) {
        line.subList(incoming, incoming + 2).clear();
      }
      line.subList(0, 1 + release.arguments().size()).clear();
      return List.copyOf(line);
    }
  }

  /// Boots a guest of its own that is the same machine as one of the product's.
  ///
  /// @param folder for its sockets and files; it must exist
  /// @param first on which it boots
  RivalQemu(Path folder, long memoryBytes, Model model, QemuRelease first, Way way) {
    this.folder = folder;
    this.way = way;
    this.memoryBytes = memoryBytes;
    this.memory = MemFd.create("rival", memoryBytes);
    this.machine = model.machine();
    this.guestFiles = guestFiles(model.pid());
    this.current = start(first, memory, false);
  }

  private static List<String> arguments(int pid) {
    try {
      String line =
          Files.readString(
              Path.of("/proc", Integer.toString(pid), "cmdline"), StandardCharsets.ISO_8859_1);
      return List.of(line.substring(0, line.length() - 1).split("\0", -1));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
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

  private Monitor start(QemuRelease release, MemFd ram, boolean waiting) {
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
          Map.of(MEMORY_FD, ram.fd(), QMP_FD, monitor.fd(), CONSOLE_FD, console.fd()));
      process =
          ChildProcess.spawn(
              new ChildProcess.Request(
                  line,
                  Map.of("LC_ALL", "C", "PATH", "/usr/bin:/bin", "LD_LIBRARY_PATH", libraries),
                  descriptors,
                  folder.resolve("rival-" + generation + ".log"),
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

  /// Replaces the hypervisor. A guest whose move does not come to its end runs on in the old one.
  ///
  /// @param quiet how long to rest between preparing and switching, as the product does
  /// @param limit how long the move may take
  /// @return empty when that was not enough
  Optional<Move> replace(QemuRelease to, Duration quiet, Duration limit) {
    MemFd ram = way.sharesMemory ? memory : MemFd.create("rival", memoryBytes);
    Monitor target = start(to, ram, true);
    try {
      target.set(way);
      current.set(way);
      Move move = way.isThroughFile() ? throughFile(target, limit) : live(target, quiet, limit);
      current.kill();
      current = target;
      if (ram != memory) {
        memory.close();
        memory = ram;
      }
      return Optional.of(move);
    } catch (TooLongException e) {
      target.kill();
      current.command("migrate_cancel", Map.of());
      if (ram != memory) {
        ram.close();
      }
      return Optional.empty();
    }
  }

  private Move live(Monitor target, Duration quiet, Duration limit) {
    try (Pipe channel = Pipe.open(1 << 20, "channel of a rival")) {
      target.command("getfd", Map.of("fdname", "channel"), channel.readEnd());
      target.command("migrate-incoming", Map.of("uri", "fd:channel"));
      current.command("getfd", Map.of("fdname", "channel"), channel.writeEnd());
    }
    Await.pause(quiet);
    long deadline = System.nanoTime() + limit.toNanos();
    long ordered = wallMicros();
    current.socket.send(message("migrate", Map.of("uri", "fd:channel")));
    long resumed = target.awaitEvent("RESUME", deadline);
    return measured(ordered, resumed, deadline);
  }

  private Move throughFile(Monitor target, Duration limit) {
    Path state = folder.resolve("state");
    try (Fd file = Fd.open(state, OpenFlags.READ_WRITE | OpenFlags.CREATE)) {
      long deadline = System.nanoTime() + limit.toNanos();
      long ordered = wallMicros();
      current.command("getfd", Map.of("fdname", "file"), file);
      // Among them are those of its own arrival.
      current.events.clear();
      current.command("migrate", Map.of("uri", "fd:file"));
      current.awaitSent(deadline);
      try (Fd again = Fd.open(state, OpenFlags.READ_ONLY)) {
        target.command("getfd", Map.of("fdname", "file"), again);
        target.command("migrate-incoming", Map.of("uri", "fd:file"));
      }
      long resumed = target.awaitEvent("RESUME", deadline);
      return measured(ordered, resumed, deadline);
    } finally {
      delete(state);
    }
  }

  private Move measured(long ordered, long resumed, long deadline) {
    long stopped = current.awaitEvent("STOP", deadline);
    if (!way.isThroughFile()) {
      current.awaitSent(deadline);
    }
    // Among them is that to the order.
    current.answers.clear();
    JsonNode ram = current.command("query-migrate", Map.of()).path("ram");
    return new Move(
        (resumed - stopped) / 1e3,
        (resumed - ordered) / 1e3,
        way.sharesMemory ? 0 : ram.path("transferred").asLong());
  }

  private static long wallMicros() {
    return ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    current.kill();
    memory.close();
  }
}
