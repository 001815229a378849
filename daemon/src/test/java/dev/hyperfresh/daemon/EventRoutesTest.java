package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A real daemon whose events are followed over its socket.
@Timeout(30)
class EventRoutesTest {
  private final List<Follower> followers = new ArrayList<>();
  private final Daemon daemon;

  EventRoutesTest(@TempDir Path folder) {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")));
  }

  @AfterEach
  void stop() throws IOException {
    for (Follower follower : followers) {
      follower.close();
    }
    daemon.close();
  }

  /// A client that follows.
  private static final class Follower implements AutoCloseable {
    private final SocketChannel channel;
    private final BufferedReader lines;

    Follower(Path socket, String query, String header) throws IOException {
      channel = SocketChannel.open(StandardProtocolFamily.UNIX);
      channel.connect(UnixDomainSocketAddress.of(socket));
      String request = RawHttp.head("GET", "/v1/events" + query) + header + "\r\n";
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.UTF_8)));
      lines =
          new BufferedReader(
              new InputStreamReader(Channels.newInputStream(channel), StandardCharsets.UTF_8));
    }

    /// The next line that begins with `start`; empty when the answer has ended.
    String next(String start) throws IOException {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.startsWith(start)) {
          return line;
        }
      }
      return "";
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }

  private Follower follow(String query, String header) throws IOException {
    Follower follower = new Follower(daemon.config().socket(), query, header);
    followers.add(follower);
    return follower;
  }

  private void happens(String release) {
    daemon.events().publish(new Event.ReleaseChanged(release, true));
  }

  @Test
  void whatHappensIsFollowed() throws Exception {
    Follower follower = follow("", "");
    assertThat(follower.next("HTTP/")).contains("200");
    assertThat(follower.next("Content-Type")).contains("text/event-stream");
    String begin = follower.next("id: ");

    happens("qemu-1");

    assertThat(follower.next("id: ")).isNotEqualTo(begin);
    assertThat(follower.next("event: ")).isEqualTo("event: release.added");
    String data = follower.next("data: ").substring("data: ".length());
    Contract.requireFits("Event", Api.JSON.readTree(data));
    assertThat(Api.JSON.readTree(data).path("type").asString()).isEqualTo("release.added");
    assertThat(Api.JSON.readTree(data).path("subject").asString()).isEqualTo("qemu-1");
    assertThat(Api.JSON.readTree(data).path("at").asString()).contains("T");
  }

  @Test
  void whoeverComesBackHasMissedNothing() throws Exception {
    Follower first = follow("", "");
    String id = first.next("id: ").substring("id: ".length());
    first.close();

    happens("qemu-1");
    happens("qemu-2");

    Follower byHeader = follow("", "Last-Event-ID: " + id + "\r\n");
    assertThat(byHeader.next("data: ")).contains("qemu-1");
    assertThat(byHeader.next("data: ")).contains("qemu-2");
    Follower byQuery = follow("?after=" + id, "");
    assertThat(byQuery.next("event: ")).isEqualTo("event: release.added");
    assertThat(byQuery.next("data: ")).contains("qemu-1");
  }

  @Test
  void whoeverComesFromAnotherDaemonIsToldSo() throws Exception {
    happens("qemu-1");

    Follower follower = follow("?after=abc-7", "");

    String id = follower.next("id: ");
    assertThat(id).endsWith("-0");
    assertThat(follower.next("event: ")).isEqualTo("event: missed");
    Contract.requireFits(
        "Event", Api.JSON.readTree(follower.next("data: ").substring("data: ".length())));
    assertThat(follower.next("event: ")).isEqualTo("event: release.added");
  }

  @Test
  void aUserHasEightAndOneThatGoesMakesRoom() throws Exception {
    List<Follower> all = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      Follower follower = follow("", "");
      assertThat(follower.next("id: ")).isNotEmpty();
      all.add(follower);
    }
    RawHttp api = new RawHttp(daemon.config().socket());
    RawHttp.Answer refused = api.get("/v1/events");
    assertThat(refused.status()).isEqualTo(429);
    assertThat(refused.json().path("code").asString()).isEqualTo(Problem.API_BUSY.code());

    all.getFirst().close();

    String id = "";
    while (id.isEmpty()) {
      id = follow("", "").next("id: ");
    }
    assertThat(id).isNotEmpty();
  }

  @Test
  void theEndOfTheStreamIsTheEndOfTheAnswer() throws Exception {
    Follower follower = follow("", "");
    assertThat(follower.next("id: ")).isNotEmpty();

    daemon.stream().close();

    assertThat(follower.next("id: ")).isEmpty();
  }

  @Test
  void whatIsNoIdIsRefused() throws Exception {
    RawHttp.Answer answer = new RawHttp(daemon.config().socket()).get("/v1/events?after=17");

    assertThat(answer.status()).isEqualTo(400);
    assertThat(answer.json().path("code").asString()).isEqualTo(Problem.API_REQUEST.code());
  }

  @Test
  void metricsCountWhatHappens() throws Exception {
    happens("qemu-1");
    happens("qemu-2");

    RawHttp.Answer answer = new RawHttp(daemon.config().socket()).get("/metrics");

    assertThat(answer.status()).isEqualTo(200);
    assertThat(answer.type()).startsWith("text/plain");
    assertThat(answer.body())
        .contains("hyperfresh_events_total{type=\"release.added\"} 2.0")
        .contains("hyperfresh_guests{state=\"running\"} 0.0")
        .contains("hyperfresh_containers{state=\"lost\"} 0.0")
        .contains("# HELP hyperfresh_daemon_heap_used_bytes");
  }
}
