package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.Qmp.QmpException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

@Timeout(60)
class QmpTest {
  private static final String GREETING =
      "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}},"
          + "\"capabilities\":[\"oob\"]}}\r\n";
  private static final Duration LIMIT = Duration.ofSeconds(10);

  private final Ear ear = new Ear();
  private final Peer peer = new Peer();
  private @Nullable Qmp qmp;

  @AfterEach
  void end() {
    if (qmp != null) {
      qmp.close();
    }
    peer.close();
  }

  @Test
  void aGreetingMayArriveByteByByte() {
    for (byte b : GREETING.getBytes(UTF_8)) {
      peer.send(new byte[] {b});
    }
    open();

    assertThat(peer.commands).containsExactly("qmp_capabilities");
  }

  @Test
  void commandsAreAnsweredWithTheirValue() {
    openGreeted();
    peer.answer("query-status", (id, p) -> p.send(success(id, "{\"running\":true}")));

    assertThat(execute("query-status").path("running").asBoolean()).isTrue();
  }

  @Test
  void severalMessagesInOneReadAreAllTaken() {
    openGreeted();
    peer.answer(
        "x",
        (id, p) ->
            p.send(event("A", 1) + event("B", 2) + success(id, "7") + event("C", 3) + "\r\n"));

    assertThat(execute("x").asInt()).isEqualTo(7);
    assertThat(execute("ping").isObject()).isTrue();
    assertThat(ear.names).containsExactly("A", "B", "C");
  }

  @Test
  void eventsBeforeAnAnswerHaveBeenHeardWhenItComes() {
    openGreeted();
    peer.answer(
        "x",
        (id, p) -> {
          IntStream.range(0, 500).forEach(i -> p.send(event("E" + i, i)));
          p.send(success(id, "{}"));
        });

    execute("x");

    assertThat(ear.names)
        .containsExactlyElementsOf(IntStream.range(0, 500).mapToObj(i -> "E" + i).toList());
  }

  @Test
  void aRefusalNamesTheCommandAndThePeersReason() {
    openGreeted();
    peer.answer(
        "cont",
        (id, p) ->
            p.send(
                "{\"id\":\"%s\",\"error\":{\"class\":\"GenericError\",\"desc\":\"no way\"}}\r\n"
                    .formatted(id)));

    assertThatThrownBy(() -> execute("cont"))
        .isInstanceOf(QmpException.class)
        .hasMessage("cont: no way");
    assertThat(execute("ping").isObject()).as("the channel goes on").isTrue();
  }

  @Test
  void answersToNobodyAreIgnored() {
    openGreeted();
    peer.answer(
        "x",
        (id, p) -> {
          p.send(success("unknown", "1") + success("", "2") + "{\"return\":3}\r\n");
          p.send("{\"id\":\"9999\",\"error\":{\"desc\":\"no\"}}\r\n");
          p.send(success(id, "4") + success(id, "5"));
        });

    assertThat(execute("x").asInt()).isEqualTo(4);
    assertThat(execute("ping").isObject()).isTrue();
  }

  @Test
  void namesAndNumbersWithoutMeasureAreSurvived() {
    openGreeted();
    String long1 = "9".repeat(1 << 20);
    peer.answer(
        "x",
        (id, p) -> {
          p.send(success(long1, "1") + "{\"id\":" + long1.substring(0, 900) + ",\"return\":2}\r\n");
          p.send("{\"id\":[[]],\"return\":3}\r\n{\"id\":null,\"return\":4}\r\n");
          p.send(
              "{\"event\":\"" + long1 + "\",\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\r\n");
          p.send(success(id, "5"));
        });

    try {
      assertThat(execute("x").asInt()).isEqualTo(5);
      assertThat(execute("ping").isObject()).isTrue();
    } catch (QmpException refused) {
      // Or the connection is ended, which is told like every other end.
      ear.awaitEnd();
    }
  }

  @Test
  void answersInAnotherOrderFindTheirCommands() throws Exception {
    openGreeted();
    List<String> held = Collections.synchronizedList(new ArrayList<>());
    BiConsumer<String, Peer> hold =
        (id, p) -> {
          held.add(id);
          if (held.size() == 2) {
            p.send(success(held.get(1), "\"" + held.get(1) + "\""));
            p.send(success(held.get(0), "\"" + held.get(0) + "\""));
          }
        };
    peer.answer("a", hold);
    peer.answer("b", hold);

    CompletableFuture<String> first = CompletableFuture.supplyAsync(() -> execute("a").asString());
    String second = execute("b").asString();

    assertThat(List.of(first.get(5, TimeUnit.SECONDS), second))
        .containsExactlyInAnyOrderElementsOf(held);
  }

  @Test
  void aPostedCommandReportsItsRefusal() throws Exception {
    Qmp open = openGreeted();
    peer.answer(
        "migrate", (id, p) -> p.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"no\"}}\n"));
    CompletableFuture<JsonNode> answer = open.expectAnswer("mine");

    open.post("migrate", Qmp.encode("migrate", Map.of("uri", "fd:x"), "mine"));

    assertThat(answer.handle((_, refusal) -> String.valueOf(refusal)).get(5, TimeUnit.SECONDS))
        .endsWith("no");
  }

  @Test
  void aPeerThatDoesNotGreetIsGivenUp() {
    peer.start();

    assertThatThrownBy(() -> open(Duration.ofMillis(50)))
        .isInstanceOf(QmpException.class)
        .hasMessage("greeting: no answer within 50 ms");
    ear.awaitEnd();
    assertThat(peer.ours.fd().isOpen()).isFalse();
  }

  @Test
  void aCommandThatIsNotAnsweredIsGivenUp() {
    Duration patience = Duration.ofMillis(100);
    openGreeted(ControlWatcher.NONE, patience);
    peer.answer("silence", (_, _) -> {});
    long start = System.nanoTime();

    assertThatThrownBy(() -> execute("silence"))
        .isInstanceOf(QmpException.class)
        .hasMessage("silence: no answer within 100 ms");

    assertThat(Duration.ofNanos(System.nanoTime() - start))
        .isBetween(patience, patience.plusSeconds(5));
  }

  @Test
  void aWaitThatIsInterruptedEndsAndKeepsTheInterrupt() {
    openGreeted(ControlWatcher.NONE, Duration.ofSeconds(20));
    peer.answer("silence", (_, _) -> {});
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> execute("silence"))
        .isInstanceOf(QmpException.class)
        .hasMessage("silence: interrupted");

    assertThat(Thread.interrupted()).isTrue();
  }

  @Test
  void aWatcherSeesEveryMessageBeforeAnybodyElse() {
    List<String> seen = Collections.synchronizedList(new ArrayList<>());
    openGreeted(new Recorder(seen), LIMIT);
    peer.answer(
        "x",
        (id, p) ->
            p.send(
                event("STOP", 1)
                    + "{\"event\":\"MIGRATION\",\"data\":{\"status\":\"active\"}}\r\n"
                    + success(id, "7")));
    execute("x");

    assertThat(seen)
        .containsExactly(
            "greeting ",
            "> qmp_capabilities of web1 3 17",
            "return ",
            "> x of web1 3 17",
            "STOP ",
            "MIGRATION active",
            "return ");
    assertThat(ear.names).containsExactly("STOP", "MIGRATION");
  }

  @Test
  void whatAWatcherKeepsIsLost() {
    openGreeted(
        new ControlWatcher() {
          @Override
          public boolean received(Party from, String message, String status) {
            return !message.equals("STOP") && !message.equals("error");
          }
        },
        Duration.ofMillis(100));
    peer.answer("x", (id, p) -> p.send(event("STOP", 1) + event("RESUME", 2) + success(id, "7")));
    peer.answer("y", (id, p) -> p.send("{\"error\":{\"desc\":\"no\"},\"id\":\"" + id + "\"}\r\n"));

    assertThat(execute("x").asInt()).isEqualTo(7);
    assertThat(ear.names).containsExactly("RESUME");
    assertThatThrownBy(() -> execute("y")).hasMessage("y: no answer within 100 ms");
  }

  private record Recorder(List<String> seen) implements ControlWatcher {
    @Override
    public void sending(Party to, String command) {
      seen.add("> " + command + " of " + to.guest() + " " + to.generation() + " " + to.pid());
    }

    @Override
    public boolean received(Party from, String message, String status) {
      return seen.add(message + " " + status);
    }
  }

  @Test
  void aPeerThatEndsInsideACommandFailsItAtOnce() {
    openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());

    assertThatThrownBy(() -> execute("die"))
        .isInstanceOf(QmpException.class)
        .hasMessage("die: the hypervisor closed its control channel");
    ear.awaitEnd();
    assertThat(ear.reasons).containsExactly("the hypervisor closed its control channel");
    assertThat(peer.ours.fd().isOpen()).isFalse();
  }

  @Test
  void aPeerThatEndsInsideALineFailsTheCommand() {
    openGreeted();
    peer.answer(
        "die",
        (id, p) -> {
          p.send("{\"return\":{},\"id\":\"" + id + "\"");
          p.hangUp();
        });

    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
  }

  @Test
  void aCommandAfterTheEndIsRefusedLikeEveryOther() {
    openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());
    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
    ear.awaitEnd();

    assertThatThrownBy(() -> execute("query-status")).isInstanceOf(QmpException.class);
  }

  @Test
  void aCommandPostedAfterTheEndFailsAsASystemCallDoes() {
    Qmp open = openGreeted();
    peer.answer("die", (_, p) -> p.hangUp());
    assertThatThrownBy(() -> execute("die")).isInstanceOf(QmpException.class);
    ear.awaitEnd();

    assertThatThrownBy(() -> open.post("migrate", Qmp.encode("migrate", Map.of(), "m")))
        .isInstanceOfAny(LinuxException.class, QmpException.class);
  }

  @Test
  void theEndIsToldOnce() {
    Qmp open = openGreeted();
    open.close();
    open.close();
    ear.awaitEnd();
    open.close();

    assertThat(ear.reasons).hasSize(1);
  }

  @Test
  void aLineOfJustUnderTheLimitIsRead() {
    openGreeted();
    String padding = " ".repeat(QmpMessage.MAX_LINE_BYTES - 100);
    peer.answer("x", (id, p) -> p.send(success(id, padding + "7")));

    assertThat(execute("x").asInt()).isEqualTo(7);
  }

  @Test
  void aLineOfMoreThanTheLimitEndsTheConnection() {
    openGreeted();
    String padding = " ".repeat(QmpMessage.MAX_LINE_BYTES + 100_000);
    peer.answer("x", (id, p) -> p.send(success(id, padding + "7")));

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("a line of more than 1048576 bytes");
  }

  @Test
  void aLineWithoutAnEndEndsTheConnection() {
    openGreeted();
    byte[] chunk = "x".repeat(64 * 1024).getBytes(UTF_8);
    peer.answer(
        "x",
        (_, p) -> {
          for (int i = 0; i < 4096 && p.send(chunk); i++) {}
        });

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("a line of more than 1048576 bytes");
  }

  @Test
  void garbageEndsTheConnection() {
    openGreeted();
    peer.answer("x", (_, p) -> p.send("HTTP/1.1 400 Bad Request\r\n"));

    assertThatThrownBy(() -> execute("x"))
        .isInstanceOf(QmpException.class)
        .hasMessageContaining("not JSON");
    ear.awaitEnd();
    assertThat(ear.reasons).singleElement().asString().contains("not JSON");
  }

  @Test
  void descriptorsThatNobodyAskedForAreClosed() {
    openGreeted();
    Fd[] sixteen = Collections.nCopies(16, peer.theirs.fd()).toArray(Fd[]::new);
    execute("ping");
    long before = openDescriptors();
    peer.answer(
        "flood",
        (id, p) -> {
          for (int i = 0; i < 500; i++) {
            p.theirs.send(event("F", i).getBytes(UTF_8), sixteen);
          }
          p.theirs.send(success(id, "{}").getBytes(UTF_8), sixteen);
        });

    execute("flood");
    execute("ping");

    assertThat(ear.names).hasSize(500);
    assertThat(openDescriptors()).isEqualTo(before);
  }

  @Test
  void tenThousandCommandsLeaveNothingBehind() throws Exception {
    Qmp open = openGreeted();
    execute("ping");
    long before = openDescriptors();

    for (int i = 0; i < 10_000; i++) {
      execute("ping");
    }

    var pending = Qmp.class.getDeclaredField("pending");
    pending.setAccessible(true);
    assertThat((Map<?, ?>) pending.get(open)).isEmpty();
    assertThat(openDescriptors()).isEqualTo(before);
  }

  @Test
  void openingAndClosingLeavesNothingBehind() {
    long before = 0;
    for (int i = 0; i < 200; i++) {
      Ear other = new Ear();
      try (Peer partner = new Peer()) {
        partner.send(GREETING.getBytes(UTF_8));
        partner.start();
        Qmp.open(partner.ours, "t", new Transcript(), other, LIMIT).close();
        other.awaitEnd();
      }
      before = i == 20 ? openDescriptors() : before;
    }
    assertThat(openDescriptors()).isLessThanOrEqualTo(before);
  }

  private Qmp open() {
    peer.start();
    return open(LIMIT);
  }

  private Qmp open(Duration limit) {
    Qmp made = Qmp.open(peer.ours, "test", new Transcript(), ear, limit);
    qmp = made;
    return made;
  }

  private void openGreeted(ControlWatcher watcher, Duration patience) {
    peer.send(GREETING.getBytes(UTF_8));
    peer.start();
    Qmp.Use use = new Qmp.Use(watcher, new ControlWatcher.Party("web1", 3, 17), patience);
    qmp = Qmp.open(peer.ours, use, "test", new Transcript(), ear, LIMIT);
  }

  private Qmp openGreeted() {
    peer.send(GREETING.getBytes(UTF_8));
    return open();
  }

  private JsonNode execute(String command) {
    if (qmp == null) {
      throw new AssertionError("not open");
    }
    return qmp.execute(command, Map.of());
  }

  private static String success(String id, String value) {
    return "{\"return\":" + value + ",\"id\":\"" + id + "\"}\r\n";
  }

  private static String event(String name, long micros) {
    return "{\"timestamp\":{\"seconds\":1,\"microseconds\":%d},\"event\":\"%s\"}\r\n"
        .formatted(micros, name);
  }

  private static long openDescriptors() {
    try (Stream<Path> entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Writes down what the channel reports.
  private static final class Ear implements Qmp.Listener {
    private final List<String> names = Collections.synchronizedList(new ArrayList<>());
    private final List<String> reasons = Collections.synchronizedList(new ArrayList<>());
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
  private static final class Peer implements AutoCloseable {
    private final UnixSocket ours;
    private final UnixSocket theirs;
    private final List<String> commands = Collections.synchronizedList(new ArrayList<>());
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
