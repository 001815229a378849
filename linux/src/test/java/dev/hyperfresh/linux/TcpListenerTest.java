package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(20)
class TcpListenerTest {
  private static final byte[] HELLO = "hello".getBytes(StandardCharsets.US_ASCII);

  /// One that nobody has.
  private static InetSocketAddress free(String host) throws IOException {
    InetAddress address = InetAddress.ofLiteral(host);
    try (ServerSocket server = new ServerSocket(0, 1, address)) {
      return new InetSocketAddress(address, server.getLocalPort());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"127.0.0.1", "0.0.0.0", "::1"})
  void aConnectionIsADescriptor(String host) throws Exception {
    InetSocketAddress at;
    try {
      at = free(host);
    } catch (SocketException e) {
      // A host may have no IPv6.
      System.out.println("skipped: " + host + ": " + e.getMessage());
      return;
    }
    InetAddress to = InetAddress.ofLiteral(host.equals("::1") ? host : "127.0.0.1");
    try (TcpListener listener = TcpListener.listen(at);
        Socket client = new Socket(to, at.getPort());
        Fd server = listener.accept()) {
      client.getOutputStream().write(HELLO);
      byte[] read = new byte[HELLO.length];
      assertThat(server.pollReadable(java.time.Duration.ofSeconds(10))).isTrue();
      assertThat(server.read(read, 0, read.length)).isEqualTo(HELLO.length);
      assertThat(read).isEqualTo(HELLO);
      assertThat(server.write(HELLO, 0, HELLO.length)).isEqualTo(HELLO.length);
      assertThat(client.getInputStream().readNBytes(HELLO.length)).isEqualTo(HELLO);
    }
  }

  @Test
  void onePortHasOneListenerAtATime() throws Exception {
    InetSocketAddress at = free("127.0.0.1");
    TcpListener first = TcpListener.listen(at);
    try (Socket _ = new Socket(at.getAddress(), at.getPort());
        Fd _ = first.accept()) {
      assertThatThrownBy(() -> TcpListener.listen(at))
          .isInstanceOfSatisfying(
              LinuxException.class, e -> assertThat(e.errnoName()).isEqualTo("EADDRINUSE"));
      first.close();
      // A connection of the first one is still there.
      TcpListener.listen(at).close();
    }
  }

  @Test
  void whoeverWaitsIsWoken() throws Exception {
    try (TcpListener listener = TcpListener.listen(free("127.0.0.1"))) {
      FutureTask<Fd> waiting = new FutureTask<>(listener::accept);
      Thread.ofPlatform().daemon().start(waiting);
      assertThatThrownBy(() -> waiting.get(100, TimeUnit.MILLISECONDS))
          .isInstanceOf(java.util.concurrent.TimeoutException.class);
      listener.shutdown();
      assertThatThrownBy(() -> waiting.get(10, TimeUnit.SECONDS))
          .hasCauseInstanceOf(LinuxException.class)
          .hasMessageContaining("EINVAL");
    }
  }

  @Test
  void aNameIsNotLookedUp() {
    assertThatThrownBy(() -> TcpListener.listen(InetSocketAddress.createUnresolved("host", 1)))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
