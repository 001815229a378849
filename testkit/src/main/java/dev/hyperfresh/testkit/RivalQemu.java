package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Pipe;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuRelease;
import dev.hyperfresh.testkit.RivalMonitor.TooLongException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The same guest as one of HyperFresh's, whose QEMU is replaced in a way that people have without
/// it: what HyperFresh is measured against. It shares nothing with the product but system calls,
/// and takes the arguments of its QEMUs from the product's, so that both run the same machine.
///
/// One thread does all of it. Where one connection in one direction will do, the channel is a pipe,
/// as the product's is.
final class RivalQemu implements AutoCloseable {
  private static final int MEMORY_FD = 10;
  private static final int QMP_FD = 11;
  private static final int CONSOLE_FD = 12;

  /// The console's log, kernel and initrd, as the product numbers them.
  private static final int CONSOLE_LOG_FD = 21;

  private static final int KERNEL_FD = 22;
  private static final int INITRD_FD = 23;

  /// Where a saved guest is read from as fast as it can be.
  private static final Path MEMORY_FILES = Path.of("/dev/shm");

  /// For what a QEMU does before it answers, such as to begin, or to end a move that is given up.
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  /// For memory that follows a guest which has gone on: it comes, however fast the guest writes.
  private static final Duration FOLLOWING = Duration.ofMinutes(1);

  /// Before what a QEMU says of itself in its log.
  private static final String SAID = "qemu-system-x86_64: ";

  private static final Set<String> OVER = Set.of("cancelled", "failed", "completed");

  private final Path folder;
  private final RivalWay way;
  private final long memoryBytes;
  private final List<String> machine;
  private final Path guestFiles;
  private MemFd memory;
  private int generation;
  private @Nullable RivalMonitor current;

  /// One replacement.
  ///
  /// @param blackoutMs from the old one's STOP to the new one's RESUME, by their own clocks
  /// @param moveMs from the order to move until RESUME; of one whose memory follows, until all of
  ///   it has come. The new QEMU has begun before the order, whatever the way.
  /// @param ramBytes of the guest's memory that were sent
  record Move(double blackoutMs, double moveMs, long ramBytes) {}

  /// A hypervisor of the product whose machine is built once more.
  record Model(int pid, QemuRelease release) {
    private List<String> machine() {
      List<String> line = new ArrayList<>(arguments(pid));
      int incoming = line.indexOf("-incoming");
      if (incoming >= 0) {
        line.subList(incoming, incoming + 2).clear();
      }
      line.subList(0, release.program().size() + release.arguments().size()).clear();
      return List.copyOf(line);
    }
  }

  /// Boots a guest of its own that is the same machine as one of the product's.
  ///
  /// @param folder for its sockets and files; it must exist
  /// @param first on which it boots
  RivalQemu(Path folder, long memoryBytes, Model model, QemuRelease first, RivalWay way) {
    this.folder = folder;
    this.way = way;
    this.memoryBytes = memoryBytes;
    this.machine = model.machine();
    this.guestFiles = guestFiles(model.pid());
    this.memory = MemFd.create("rival", memoryBytes);
    try {
      this.current = start(first, memory, false);
      current.greet();
    } catch (RivalMonitor.TroubleException | LinuxException e) {
      close();
      throw new RivalMonitor.TroubleException(e.getMessage() + complaint(), e);
    }
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

  /// Starts a QEMU, which has not been greeted yet.
  ///
  /// @param waiting whether it waits for a state; otherwise it boots
  private RivalMonitor start(QemuRelease release, MemFd ram, boolean waiting) {
    generation++;
    ChildProcess process = spawn(line(release, waiting), release.environment(), ram);
    try {
      return new RivalMonitor(process, own(".qmp"));
    } catch (LinuxException e) {
      process.kill();
      process.waitFor();
      process.close();
      throw new RivalMonitor.TroubleException("QEMU ended at once", e);
    }
  }

  private ChildProcess spawn(List<String> line, Map<String, String> environment, MemFd ram) {
    Map<Integer, Fd> descriptors = files();
    List<Fd> files = List.copyOf(descriptors.values());
    try (UnixSocket monitor = UnixSocket.listen(own(".qmp"), 0600);
        UnixSocket console = UnixSocket.listen(own(".con"), 0600)) {
      descriptors.putAll(
          Map.of(MEMORY_FD, ram.fd(), QMP_FD, monitor.fd(), CONSOLE_FD, console.fd()));
      return ChildProcess.spawn(
          new ChildProcess.Request(line, environment, descriptors, log(), true));
    } finally {
      files.forEach(Fd::close);
    }
  }

  private List<String> line(QemuRelease release, boolean waiting) {
    List<String> line = new ArrayList<>(release.program());
    line.addAll(release.arguments());
    line.addAll(machine);
    boolean cpr = way.route() == RivalWay.Route.CPR;
    if (cpr) {
      line.addAll(List.of("-machine", "aux-ram-share=on"));
    }
    if (waiting) {
      line.addAll(List.of("-incoming", "defer"));
    }
    if (waiting && cpr) {
      line.addAll(List.of("-incoming", JsonMapper.shared().writeValueAsString(channel("cpr"))));
    }
    return line;
  }

  /// A socket of the newest QEMU, as its command line and its commands name one.
  private Map<String, Object> channel(String type) {
    String path = own("." + type).toString();
    return Map.of(
        "channel-type", type, "addr", Map.of("transport", "socket", "type", "unix", "path", path));
  }

  /// A file of the newest QEMU.
  private Path own(String suffix) {
    return folder.resolve(generation + suffix);
  }

  private Path log() {
    return folder.resolve("rival-" + generation + ".log");
  }

  /// The hypervisor that runs the guest now.
  int pid() {
    return running().pid();
  }

  private RivalMonitor running() {
    return Objects.requireNonNull(current);
  }

  /// Replaces the hypervisor. A guest whose move does not come to its end runs on in the old one.
  ///
  /// @param quiet how long to rest between preparing and switching, as the product does
  /// @param limit how long the move may take
  /// @return empty when that was not enough
  /// @throws RivalMonitor.UnavailableException when this host or this QEMU does not go that way
  /// @throws RivalMonitor.TroubleException when it failed; the guest is of no more use
  Optional<Move> replace(QemuRelease to, Duration quiet, Duration limit) {
    MemFd ram = way.sharesMemory() ? memory : MemFd.create("rival", memoryBytes);
    try {
      Optional<Move> move = replace(start(to, ram, true), quiet, limit);
      if (move.isPresent() && ram != memory) {
        memory.close();
        memory = ram;
      }
      return move;
    } catch (RivalMonitor.TroubleException | LinuxException e) {
      throw new RivalMonitor.TroubleException(e.getMessage() + complaint(), e);
    } finally {
      if (ram != memory) {
        ram.close();
      }
    }
  }

  private Optional<Move> replace(RivalMonitor target, Duration quiet, Duration limit) {
    RivalMonitor old = running();
    try {
      Move move = move(target, quiet, limit);
      current = target;
      return Optional.of(move);
    } catch (TooLongException e) {
      goOn(target);
      return Optional.empty();
    } finally {
      (current == target ? old : target).kill();
    }
  }

  private Move move(RivalMonitor target, Duration quiet, Duration limit) {
    if (way.route() != RivalWay.Route.CPR) {
      target.greet();
      target.set(way, true);
    }
    running().set(way, false);
    // Among them are those of its own arrival.
    running().forgetEvents();
    return switch (way.route()) {
      case PIPE -> throughPipe(target, quiet, limit);
      case SOCKET -> throughSocket(target, quiet, limit);
      case FILE -> throughFile(target, limit);
      case CPR -> throughCpr(target, quiet, limit);
    };
  }

  /// The answer to the order is not waited for: nothing of this program is to run meanwhile.
  private Move throughPipe(RivalMonitor target, Duration quiet, Duration limit) {
    try (Pipe channel = Pipe.open(1 << 20, "channel of a rival")) {
      target.command("getfd", Map.of("fdname", "channel"), channel.readEnd());
      target.command("migrate-incoming", Map.of("uri", "fd:channel"));
      running().command("getfd", Map.of("fdname", "channel"), channel.writeEnd());
    }
    Await.pause(quiet);
    Span span = new Span(limit);
    running().order("migrate", Map.of("uri", "fd:channel"));
    return measured(span, target.awaitEvent("RESUME", span.deadline));
  }

  private Move throughSocket(RivalMonitor target, Duration quiet, Duration limit) {
    String uri = "unix:" + own(".main");
    target.command("migrate-incoming", Map.of("uri", uri));
    Await.pause(quiet);
    Span span = new Span(limit);
    running().command("migrate", Map.of("uri", uri));
    if (way != RivalWay.POST_COPY) {
      return measured(span, target.awaitEvent("RESUME", span.deadline));
    }
    running().command("migrate-start-postcopy", Map.of());
    span.deadline += FOLLOWING.toNanos();
    long arrived = target.awaitCompleted(span.deadline);
    Move move = measured(span, target.awaitEvent("RESUME", span.deadline));
    return new Move(move.blackoutMs(), (arrived - span.ordered) / 1e3, move.ramBytes());
  }

  private Move throughFile(RivalMonitor target, Duration limit) {
    // Without a name, so that nothing is left of it whatever happens.
    try (Fd file = Fd.open(roomy(), OpenFlags.NAMELESS)) {
      Span span = new Span(limit);
      running().command("getfd", Map.of("fdname", "file"), file);
      running().command("migrate", Map.of("uri", "fd:file"));
      running().awaitCompleted(span.deadline);
      Path again = Path.of("/proc/self/fd", Integer.toString(file.number()));
      try (Fd beginning = Fd.open(again, OpenFlags.READ_ONLY)) {
        target.command("getfd", Map.of("fdname", "file"), beginning);
        target.command("migrate-incoming", Map.of("uri", "fd:file"));
      }
      return measured(span, target.awaitEvent("RESUME", span.deadline));
    }
  }

  /// The memory of the host if the guest's fits there; a disk otherwise.
  private Path roomy() {
    try {
      boolean fits =
          Files.isWritable(MEMORY_FILES)
              && Files.getFileStore(MEMORY_FILES).getUsableSpace() > 2 * memoryBytes;
      return fits ? MEMORY_FILES : folder;
    } catch (IOException e) {
      return folder;
    }
  }

  /// The new QEMU builds its machine when it has got the descriptors, and takes commands only then.
  /// The guest runs meanwhile, and the old one sends the rest when the new one listens.
  private Move throughCpr(RivalMonitor target, Duration quiet, Duration limit) {
    Await.until("the channel of the new QEMU", PATIENCE, () -> isListening(own(".cpr")));
    running().command("migrate", Map.of("channels", List.of(channel("main"), channel("cpr"))));
    target.greet();
    target.set(way, true);
    Await.pause(quiet);
    Span span = new Span(limit);
    target.command("migrate-incoming", Map.of("uri", "unix:" + own(".main")));
    return measured(span, target.awaitEvent("RESUME", span.deadline));
  }

  /// By the kernel's list, whose fourth word has this flag then: a connection would be taken for
  /// the real one.
  private static boolean isListening(Path socket) {
    try {
      return Files.readAllLines(Path.of("/proc/net/unix"), StandardCharsets.ISO_8859_1).stream()
          .anyMatch(line -> line.endsWith(" " + socket) && line.contains(" 00010000 "));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// When a move was ordered and when it must be over.
  private static final class Span {
    private long deadline;
    private final long ordered;

    Span(Duration limit) {
      deadline = System.nanoTime() + limit.toNanos();
      ordered = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
    }
  }

  private Move measured(Span span, long resumed) {
    long stopped = running().awaitEvent("STOP", span.deadline);
    if (way.route() != RivalWay.Route.FILE) {
      running().awaitCompleted(span.deadline);
    }
    JsonNode ram = running().command("query-migrate", Map.of()).path("ram");
    return new Move(
        (resumed - stopped) / 1e3,
        (resumed - span.ordered) / 1e3,
        way.sharesMemory() ? 0 : ram.path("transferred").asLong(0));
  }

  /// Has the old one run the guest again.
  private void goOn(RivalMonitor target) {
    if (way == RivalWay.POST_COPY) {
      throw new RivalMonitor.TroubleException(
          "the memory did not follow, and there is no way back");
    }
    running().command("migrate_cancel", Map.of());
    Await.until(
        "the end of a move that was given up",
        PATIENCE,
        () ->
            OVER.contains(
                running().command("query-migrate", Map.of()).path("status").asString("")));
    target.kill();
    running().forgetEvents();
    running().command("cont", Map.of());
  }

  /// What the newest QEMU complained of last, in its log; empty when of nothing.
  private String complaint() {
    try {
      return Files.readAllLines(log(), StandardCharsets.ISO_8859_1).stream()
          .filter(line -> line.contains(SAID) && !line.contains(" warning: "))
          .reduce((_, last) -> last)
          .map(last -> "; it wrote: " + last.substring(last.indexOf(SAID) + SAID.length()))
          .orElse("");
    } catch (IOException e) {
      return "";
    }
  }

  @Override
  public void close() {
    if (current != null) {
      current.kill();
    }
    memory.close();
  }
}
