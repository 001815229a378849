package dev.hyperfresh.qemu;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// A control channel whose near end somebody keeps, and which goes from client to client.
@Timeout(30)
class KeptChannelTest {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final Pattern ID = Pattern.compile("\"id\":\"([^\"]+)\"");

  private final UnixSocket.Pair pair = UnixSocket.pair();
  private final UnixSocket kept = UnixSocket.adopt(pair.left().fd().duplicate());
  private final UnixSocket peer = pair.right();
  private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
  private final BlockingQueue<String> ends = new LinkedBlockingQueue<>();

  @AfterEach
  void close() {
    kept.close();
    peer.close();
    pair.left().close();
  }

  private Qmp open(Duration limit) {
    Qmp.Listener ear =
        new Qmp.Listener() {
          @Override
          public void event(QmpMessage.Event event) {
            events.add(event.name());
          }

          @Override
          public void ended(String reason, boolean heardAll) {
            ends.add(reason);
          }
        };
    Qmp.Use use =
        new Qmp.Use(
            ControlWatcher.NONE, new ControlWatcher.Party("web1", 1, 1), LIMIT, Qmp.Channel.FOUND);
    return Qmp.open(pair.left(), use, "test", new Transcript(), ear, limit);
  }

  private void say(String text) {
    peer.send(text.getBytes(ISO_8859_1));
  }

  private String hear() {
    byte[] chunk = new byte[4096];
    List<Fd> strays = new ArrayList<>();
    int count = peer.receive(chunk, strays);
    return count < 0 ? "" : new String(chunk, 0, count, ISO_8859_1);
  }

  private String hearUntil(String word) {
    StringBuilder heard = new StringBuilder();
    while (!heard.toString().contains(word)) {
      String more = hear();
      assertThat(more).as("after " + heard).isNotEmpty();
      heard.append(more);
    }
    return heard.toString();
  }

  private static String id(String command) {
    Matcher matcher = ID.matcher(command);
    assertThat(matcher.find()).as(command).isTrue();
    return matcher.group(1);
  }

  @Test
  void theNextClientGoesOnWhereTheLastOneWasKilled() throws Exception {
    // The second half of a message, answers to the earlier client, an event that nobody heard.
    say("ning\": true}}\r\n{\"return\": {}, \"id\": \"1\"}\r\n");
    say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"late\"}, \"id\": \"2\"}\r\n");
    say("{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1, \"microseconds\": 2}}\r\n");
    CompletableFuture<Qmp> opening = CompletableFuture.supplyAsync(() -> open(LIMIT));
    String asked = hearUntil("query-status");
    assertThat(asked).as("what ends half a command").startsWith("\u00ff\n");
    assertThat(id(asked)).isNotEqualTo("1");
    say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"Invalid JSON syntax\"}}\r\n");
    say("{\"return\": {\"running\": true}, \"id\": \"" + id(asked) + "\"}\r\n");

    try (Qmp qmp = opening.get(10, TimeUnit.SECONDS)) {
      assertThat(events.poll(10, TimeUnit.SECONDS)).isEqualTo("RESUME");
      CompletableFuture<Boolean> done =
          CompletableFuture.supplyAsync(() -> qmp.execute("cont", Map.of()).isObject());
      say("{\"return\": {}, \"id\": \"" + id(hearUntil("cont")) + "\"}\r\n");
      assertThat(done.get(10, TimeUnit.SECONDS)).isTrue();
      assertThat(ends).isEmpty();
    }
    assertThat(ends.poll(10, TimeUnit.SECONDS)).isNotNull();
    kept.send("next".getBytes(ISO_8859_1));
    assertThat(hear()).as("the peer sees no end").isEqualTo("next");
  }

  @Test
  void rubbishAfterTheFirstLineEndsTheChannel() throws Exception {
    say("rest of a line\r\nrubbish\r\n");

    assertThatThrownBy(() -> open(LIMIT)).isInstanceOf(Qmp.QmpException.class);
    assertThat(ends.poll(10, TimeUnit.SECONDS)).contains("broke");
  }

  @Test
  void aPeerThatDoesNotAnswerIsLeftToTheNextClient() throws Exception {
    assertThatThrownBy(() -> open(Duration.ofMillis(100)))
        .isInstanceOf(Qmp.QmpException.class)
        .hasMessageContaining("no answer");
    assertThat(ends.poll(10, TimeUnit.SECONDS)).isNotNull();
    kept.send("next".getBytes(ISO_8859_1));
    assertThat(hearUntil("next")).contains("query-status");
  }
}
