package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Requests that are too large; each meets a daemon of its own.
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
}
