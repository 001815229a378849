package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.helidon.common.buffers.DataReader;
import io.helidon.webclient.api.WebClient;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CutOffTest {
  @TempDir Path folder;

  /// Wherever an answer ends, the library says so in one of its ways.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "HTTP/1.1",
        "HTTP/1.1 200 OK\r\nTransfer-Enco",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf"
      })
  void anAnswerThatEndsIsCutOff(String answer) throws Exception {
    Path socket = folder.resolve("socket");
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      Thread daemon = Thread.ofPlatform().start(() -> answer(server, answer));

      RuntimeException failure = catchThrowableOfType(RuntimeException.class, () -> ask(socket));

      daemon.join();
      assertThat(failure).isNotNull();
      assertThat(CutOff.is(failure)).as(failure.toString()).isTrue();
    }
  }

  @Test
  void aDefectIsNotTakenForIt() {
    assertThat(CutOff.is(new IllegalStateException("a defect of ours"))).isFalse();
    assertThat(CutOff.is(new IllegalArgumentException("another"))).isFalse();
    assertThat(CutOff.is(new UncheckedIOException(new IOException("broken pipe")))).isTrue();
    assertThat(CutOff.is(new DataReader.InsufficientDataAvailableException())).isTrue();
  }

  private static void ask(Path socket) {
    var _ =
        WebClient.builder()
            .baseAddress(UnixDomainSocketAddress.of(socket))
            .baseUri("http://localhost")
            .shareConnectionCache(false)
            .build()
            .get("/")
            .request()
            .as(byte[].class);
  }

  private static void answer(ServerSocketChannel server, String answer) {
    try (SocketChannel client = server.accept()) {
      client.read(ByteBuffer.allocate(64 << 10));
      client.write(StandardCharsets.US_ASCII.encode(answer));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
