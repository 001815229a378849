package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.qemu.Qmp.QmpException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

/// Commands, their answers and events.
@Timeout(60)
class QmpTest extends QmpConversation {
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
}
