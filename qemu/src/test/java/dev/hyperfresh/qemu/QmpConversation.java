package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import tools.jackson.databind.JsonNode;

/// A client of QMP and its peer, of which a test says how it answers.
abstract class QmpConversation {
  static final String GREETING =
      "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}},"
          + "\"capabilities\":[\"oob\"]}}\r\n";
  static final Duration LIMIT = Duration.ofSeconds(10);

  final Ear ear = new Ear();
  final Peer peer = new Peer();
  private @Nullable Qmp qmp;

  @AfterEach
  void end() {
    if (qmp != null) {
      qmp.close();
    }
    peer.close();
  }

  Qmp open() {
    peer.start();
    return open(LIMIT);
  }

  Qmp open(Duration limit) {
    Qmp made = Qmp.open(peer.ours, "test", new Transcript(), ear, limit);
    qmp = made;
    return made;
  }

  void openGreeted(ControlWatcher watcher, Duration patience) {
    peer.send(GREETING.getBytes(UTF_8));
    peer.start();
    Qmp.Use use = new Qmp.Use(watcher, new ControlWatcher.Party("web1", 3, 17), patience);
    qmp = Qmp.open(peer.ours, use, "test", new Transcript(), ear, LIMIT);
  }

  Qmp openGreeted() {
    peer.send(GREETING.getBytes(UTF_8));
    return open();
  }

  JsonNode execute(String command) {
    if (qmp == null) {
      throw new AssertionError("not open");
    }
    return qmp.execute(command, Map.of());
  }

  static String success(String id, String value) {
    return "{\"return\":" + value + ",\"id\":\"" + id + "\"}\r\n";
  }

  static String event(String name, long micros) {
    return "{\"timestamp\":{\"seconds\":1,\"microseconds\":%d},\"event\":\"%s\"}\r\n"
        .formatted(micros, name);
  }

  static long openDescriptors() {
    try (Stream<Path> entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Writes down what the channel reports.
  static final class Ear implements Qmp.Listener {
    final List<String> names = Collections.synchronizedList(new ArrayList<>());
    final List<String> reasons = Collections.synchronizedList(new ArrayList<>());
    private final CountDownLatch over = new CountDownLatch(1);

    @Override
    public void event(QmpMessage.Event event) {
      names.add(event.name());
    }

    @Override
    public void ended(String reason, boolean heardAll) {
      reasons.add(reason);
      over.countDown();
    }

    void awaitEnd() {
      try {
        assertThat(over.await(10, TimeUnit.SECONDS)).as("the end was told").isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  /// The other end of the socket: answers each command as the test says, or with an empty object.
  static final class Peer implements AutoCloseable {
    final UnixSocket ours;
    final UnixSocket theirs;
    final List<String> commands = Collections.synchronizedList(new ArrayList<>());

    /// What came with the commands, in their order.
    final List<JsonNode> arguments = Collections.synchronizedList(new ArrayList<>());

    private final Map<String, BiConsumer<String, Peer>> answers =
        new java.util.concurrent.ConcurrentHashMap<>();
    private Thread thread = new Thread(() -> {});

    Peer() {
      UnixSocket.Pair pair = UnixSocket.pair();
      ours = pair.left();
      theirs = pair.right();
    }

    void answer(String command, BiConsumer<String, Peer> what) {
      answers.put(command, what);
    }

    void start() {
      thread = Thread.ofPlatform().daemon().start(this::serve);
    }

    void send(String text) {
      send(text.getBytes(UTF_8));
    }

    boolean send(byte[] bytes) {
      try {
        theirs.send(bytes);
        return true;
      } catch (LinuxException gone) {
        return false;
      }
    }

    void hangUp() {
      theirs.shutdown();
    }

    private void serve() {
      StringBuilder text = new StringBuilder();
      byte[] buffer = new byte[4096];
      try {
        int count = theirs.receive(buffer, new ArrayList<>());
        while (count > 0) {
          text.append(new String(buffer, 0, count, UTF_8));
          for (int end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
            serve(QmpMessage.JSON.readTree(text.substring(0, end)));
            text.delete(0, end + 1);
          }
          count = theirs.receive(buffer, new ArrayList<>());
        }
      } catch (LinuxException gone) {
        assertThat(gone.errnoName()).isIn("ECONNRESET", "EPIPE");
      }
    }

    private void serve(JsonNode command) {
      String name = command.path("execute").asString();
      arguments.add(command.path("arguments"));
      commands.add(name);
      String id = command.path("id").asString();
      answers.getOrDefault(name, (i, p) -> p.send(success(i, "{}"))).accept(id, this);
    }

    @Override
    public void close() {
      if (ours.fd().isOpen()) {
        try {
          theirs.shutdown();
        } catch (LinuxException alreadyApart) {
          assertThat(alreadyApart.errnoName()).isEqualTo("ENOTCONN");
        }
      }
      try {
        thread.join(5000);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
      theirs.close();
      ours.close();
    }
  }
}
