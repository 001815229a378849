package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Requests that are too large, and connections that end; each meets a daemon of its own.
@Timeout(20)
class ApiLimitsTest {
  @TempDir Path folder = Path.of("");

  private Daemon daemon;
  private RawHttp api;

  @BeforeEach
  void start() {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")));
    api = new RawHttp(daemon.config().socket());
  }

  @AfterEach
  void stop() {
    daemon.close();
  }

  /// A client that reads to the end would otherwise wait until the connection counts as idle.
  @ParameterizedTest
  @ValueSource(strings = {"/v1/guests", "/v1/guests/nobody", "/nowhere"})
  void aConnectionIsClosedWhenItsClientAsksForIt(String path) throws Exception {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(daemon.config().socket()));
      channel.write(StandardCharsets.US_ASCII.encode(RawHttp.head("GET", path) + "\r\n"));
      ByteBuffer answer = ByteBuffer.allocate(64 << 10);

      while (channel.read(answer) >= 0) {
        assertThat(answer.hasRemaining()).isTrue();
      }

      String text = StandardCharsets.UTF_8.decode(answer.flip()).toString();
      assertThat(text).startsWith("HTTP/1.1 ").contains("\r\n\r\n{").endsWith("}");
    }
  }

  @Test
  void aDaemonThatEndsAnswersWhatItWasAskedBefore() throws Exception {
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(daemon.config().socket()));
      channel.write(
          StandardCharsets.US_ASCII.encode(
              RawHttp.head("POST", "/v1/guests")
                  + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
      ByteBuffer answer = ByteBuffer.allocate(64 << 10);
      // The request is being served when its body is asked for.
      channel.read(answer);
      assertThat(StandardCharsets.US_ASCII.decode(answer.flip()).toString()).contains(" 100 ");
      answer.clear();

      Thread end = Thread.ofPlatform().start(daemon::close);
      awaitDeaf();
      channel.write(StandardCharsets.US_ASCII.encode("{}"));

      while (channel.read(answer) >= 0) {
        assertThat(answer.hasRemaining()).isTrue();
      }
      end.join();
      assertThat(StandardCharsets.UTF_8.decode(answer.flip()).toString())
          .contains(Problem.API_REQUEST.code())
          .endsWith("\r\n0\r\n\r\n");
    }
  }

  /// Returns when nobody can connect any more.
  private void awaitDeaf() {
    while (true) {
      try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
        channel.connect(UnixDomainSocketAddress.of(daemon.config().socket()));
      } catch (IOException deaf) {
        return;
      }
    }
  }

  @Test
  void aHugeBodyIsRefusedAndTheDaemonGoesOn() throws Exception {
    String huge = "{\"document\": \"" + "x".repeat(4 << 20) + "\", \"base\": \"/\"}";

    RawHttp.Answer answer = api.post("/v1/guests", huge);

    // A server that stops reading may cut the connection before its answer is read.
    assertThat(answer.status()).isIn(0, 400, 413);
    assertThat(api.get("/v1/guests").status()).isEqualTo(200);
  }

  @Test
  void aHugeBodyWithoutALengthIsRefusedAndTheDaemonGoesOn() throws Exception {
    String chunk = "10000\r\n" + " ".repeat(0x10000) + "\r\n";
    RawHttp.Answer answer =
        api.send(
            RawHttp.head("POST", "/v1/guests")
                + "Transfer-Encoding: chunked\r\n\r\n"
                + chunk.repeat(64)
                + "0\r\n\r\n");

    assertThat(answer.status()).isIn(0, 400, 413);
    assertThat(api.get("/v1/guests").status()).isEqualTo(200);
  }

  @Test
  void aBodyOf128KiBIsReadAndALongerOneIsNot() throws Exception {
    String start = "{\"document\": \"";
    String end = "\", \"base\": \"/\"}";
    int fill = (128 << 10) - start.length() - end.length();

    assertThat(api.post("/v1/guests", start + "#".repeat(fill) + end).lastLine().toString())
        .contains("HF-SPEC-001");
    assertThat(api.post("/v1/guests", start + "#".repeat(fill + 1) + end).status())
        .isNotEqualTo(200);
  }

  @Test
  void aFirstLineOf2KiBIsReadAndALongerOneIsNot() throws Exception {
    String path = "/v1/guests?a=";
    int fill = 2048 - "GET  HTTP/1.1".length() - path.length();

    assertThat(api.get(path + "x".repeat(fill - 2)).status()).isEqualTo(200);
    assertThat(api.get(path + "x".repeat(fill + 2)).status()).isEqualTo(400);
    assertThat(api.get("/v1/guests").status()).isEqualTo(200);
  }

  @Test
  void headersOf8KiBAreReadAndLongerOnesAreNot() throws Exception {
    String head = RawHttp.head("GET", "/v1/guests");

    assertThat(api.send(head + "X-Fill: " + "x".repeat(8000) + "\r\n\r\n").status()).isEqualTo(200);
    for (String more : List.of("X-Fill: " + "x".repeat(8300) + "\r\n", "A: b\r\n".repeat(1500))) {
      RawHttp.Answer answer = api.send(head + more + "\r\n");
      assertThat(answer.status()).isEqualTo(400);
      assertThat(answer.json().path("code").asString()).isEqualTo(Problem.API_REQUEST.code());
    }
    assertThat(api.get("/v1/guests").status()).isEqualTo(200);
  }

  /// What fits into the bytes and would grow in memory, or be read in two ways.
  @Test
  void aBodyThatIsMoreThanAFlatObjectIsRefused() throws Exception {
    for (String body :
        List.of(
            "{\"a\":".repeat(9) + "1" + "}".repeat(9),
            "{\"a\":[" + "1,".repeat(5000) + "1]}",
            "{\"" + "a".repeat(100) + "\": 1}",
            "{\"a\": " + "1".repeat(100) + "}",
            "{\"to\": \"a\", \"to\": \"b\"}")) {
      RawHttp.Answer answer = api.post("/v1/guests/nobody/stop", body);
      assertThat(answer.status()).as(body.substring(0, 20)).isEqualTo(400);
      assertThat(answer.json().path("code").asString()).isEqualTo(Problem.API_REQUEST.code());
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"-1", "3601", "99999999999", "1e99", "1.5", "true", "\"10\"", "[]", "{}", "null"})
  void aNumberOutOfRangeIsRefused(String number) throws Exception {
    for (String path : List.of("/v1/guests/nobody/stop", "/v1/containers/nobody/stop")) {
      RawHttp.Answer answer = api.post(path, "{\"patience_s\": " + number + "}");
      assertThat(answer.lastLine().path("problem").path("code").asString())
          .as(answer.body())
          .isEqualTo(Problem.API_REQUEST.code());
    }
  }
}
