package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// A QEMU that a test starts by itself, as a user without HyperFresh does. It has a second control
/// socket, over which the test reads what it reports.
final class OwnQemu implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofMinutes(3);

  private final Process process;
  private final Path qmp;
  private final SocketChannel witness;
  private final List<String> events = Collections.synchronizedList(new ArrayList<>());

  private OwnQemu(Process process, Path qmp, SocketChannel witness) {
    this.process = process;
    this.qmp = qmp;
    this.witness = witness;
    Thread.ofPlatform().name("witness").daemon().start(this::read);
  }

  /// Starts `release` in `folder`, with control sockets in it, behind the words of `prefix`.
  static OwnQemu start(QemuRelease release, Path folder, List<String> prefix, String... arguments)
      throws IOException {
    Path qmp = folder.resolve("own.qmp");
    Path watch = folder.resolve("watch.qmp");
    List<String> command = new ArrayList<>(prefix);
    command.add(release.binary().toString());
    command.addAll(release.arguments());
    command.addAll(List.of("-nodefaults", "-no-user-config", "-display", "none"));
    command.addAll(List.of(arguments));
    command.addAll(List.of("-qmp", "unix:" + qmp + ",server=on,wait=off"));
    command.addAll(List.of("-chardev", "socket,id=watch,path=" + watch + ",server=on,wait=off"));
    command.addAll(List.of("-mon", "chardev=watch,mode=control"));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("own-qemu.log").toFile());
    builder
        .environment()
        .put(
            "LD_LIBRARY_PATH",
            release.libraries().stream().map(Path::toString).collect(Collectors.joining(":")));
    // Also for a copy of the program that lies elsewhere.
    release.libraries().stream()
        .map(libraries -> libraries.resolve("qemu"))
        .filter(Files::isDirectory)
        .findFirst()
        .ifPresent(modules -> builder.environment().put("QEMU_MODULE_DIR", modules.toString()));
    Process process = builder.start();
    try {
      // The socket is there a moment before it listens.
      AtomicReference<@Nullable SocketChannel> connected = new AtomicReference<>();
      Workshop.await(
          "a control socket",
          PATIENCE,
          () -> {
            connected.set(connect(watch));
            return connected.get() != null || !process.isAlive();
          });
      SocketChannel witness = connected.get();
      if (witness == null) {
        throw new AssertionError(Files.readString(folder.resolve("own-qemu.log")));
      }
      OwnQemu own = new OwnQemu(process, qmp, witness);
      own.say("qmp_capabilities");
      return own;
    } catch (IOException | AssertionError e) {
      process.destroyForcibly();
      throw e;
    }
  }

  private static @Nullable SocketChannel connect(Path socket) {
    try {
      SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
      try {
        channel.connect(UnixDomainSocketAddress.of(socket));
        return channel;
      } catch (IOException e) {
        channel.close();
        return null;
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void say(String command) throws IOException {
    say(command, "{}");
  }

  /// Gives a command over the second control socket and waits for its answer.
  void say(String command, String arguments) throws IOException {
    int before = events.size();
    String line = "{\"execute\":\"" + command + "\",\"arguments\":" + arguments + "}\n";
    witness.write(StandardCharsets.UTF_8.encode(line));
    Workshop.await(
        "an answer",
        PATIENCE,
        () -> {
          List<String> all = List.copyOf(events);
          return all.subList(before, all.size()).stream().anyMatch(l -> l.contains("\"return\""));
        });
  }

  /// Gives a command over the second control socket and returns what it is answered.
  JsonNode ask(String command, String arguments) throws IOException {
    say(command, arguments);
    return List.copyOf(events).reversed().stream()
        .filter(line -> line.contains("\"return\""))
        .findFirst()
        .map(line -> JsonMapper.shared().readTree(line).path("return"))
        .orElseThrow();
  }

  private void read() {
    try (BufferedReader lines =
        new BufferedReader(Channels.newReader(witness, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        events.add(line);
      }
    } catch (IOException e) {
      // The process or the test has ended.
      events.add("# " + e.getMessage());
    }
  }

  /// Whether the guest was ever stopped, as the QEMU itself reports.
  boolean wasStopped() {
    return List.copyOf(events).stream().anyMatch(line -> line.contains("\"STOP\""));
  }

  /// Whether it has reported `event` with `detail` in the same line.
  boolean reported(String event, String detail) {
    return List.copyOf(events).stream()
        .anyMatch(line -> line.contains("\"" + event + "\"") && line.contains(detail));
  }

  /// Fails unless the QEMU says that its guest runs.
  void assertRunning() throws IOException {
    say("query-status");
    String answer =
        List.copyOf(events).reversed().stream()
            .filter(line -> line.contains("\"return\""))
            .findFirst()
            .orElse("");
    if (!answer.contains("\"status\": \"running\"")) {
      throw new AssertionError(answer);
    }
  }

  int pid() {
    return (int) process.pid();
  }

  /// Whether it runs, as the kernel sees it: Java hears of its end a moment later.
  boolean isAlive() {
    return process.isAlive() && Workspace.runs(pid());
  }

  Path qmp() {
    return qmp;
  }

  /// The guest's memory, by the descriptor whose target contains `word`.
  MemFd memory(String word) {
    try (Stream<Path> links = Files.list(Path.of("/proc", Integer.toString(pid()), "fd"))) {
      for (Path link : links.toList()) {
        if (target(link).contains(word)) {
          return MemFd.adoptForeign(Fd.open(link, OpenFlags.READ_WRITE));
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    throw new AssertionError("no descriptor of " + word);
  }

  private static String target(Path link) {
    try {
      return Files.readSymbolicLink(link).toString();
    } catch (IOException e) {
      // Closed since it was listed.
      return "";
    }
  }

  @Override
  public void close() {
    process.destroyForcibly();
    try {
      witness.close();
      process.waitFor();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
