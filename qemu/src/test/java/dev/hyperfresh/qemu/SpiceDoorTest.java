package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// The port of a SPICE server, on behalf of a QEMU.
@Timeout(30)
class SpiceDoorTest extends QmpConversation {
  private static final List<String> PASSED = List.of("getfd", "add_client");
  private static final long PATIENCE_NANOS = 10_000_000_000L;

  private final InetSocketAddress port = free();

  private static InetSocketAddress free() {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return new InetSocketAddress(server.getInetAddress(), server.getLocalPort());
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private Socket client() throws IOException {
    return new Socket(port.getAddress(), port.getPort());
  }

  private void awaitPassed(String... wanted) throws InterruptedException {
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    while (passed().size() < wanted.length && System.nanoTime() < deadline) {
      Thread.sleep(5);
    }
    assertThat(passed()).containsExactly(wanted);
  }

  private List<String> passed() {
    return List.copyOf(peer.commands).stream().filter(PASSED::contains).toList();
  }

  /// One who was not let in yet is told more bluntly.
  private static boolean isSentAway(Socket client) throws IOException {
    try {
      return client.getInputStream().read() == -1;
    } catch (SocketException e) {
      return true;
    }
  }

  @Test
  void eachClientIsPassedOn() throws Exception {
    Qmp qmp = openGreeted();
    try (SpiceDoor door = new SpiceDoor("web1", () -> qmp)) {
      door.open(port);
      door.open(port);
      try (Socket _ = client();
          Socket _ = client()) {
        awaitPassed("getfd", "add_client", "getfd", "add_client");
      }
      assertThat(peer.arguments.getLast().toString())
          .contains("\"protocol\":\"spice\"", "\"fdname\":\"hf-spice-client\"")
          .doesNotContain("skipauth");
    }
  }

  /// The QEMU is to be left alone meanwhile.
  @Test
  void whileTheGuestChangesHandsClientsWait() throws Exception {
    Qmp qmp = openGreeted();
    try (SpiceDoor door = new SpiceDoor("web1", () -> qmp)) {
      door.open(port);
      door.hold();
      try (Socket _ = client();
          Socket _ = client()) {
        Thread.sleep(100);
        assertThat(passed()).isEmpty();
        door.release();
        awaitPassed("getfd", "add_client", "getfd", "add_client");
      }
    }
  }

  @Test
  void whoeverWaitsIsSentAwayWithTheInstance() throws Exception {
    Qmp qmp = openGreeted();
    SpiceDoor door = new SpiceDoor("web1", () -> qmp);
    door.open(port);
    door.hold();
    try (Socket client = client()) {
      client.setSoTimeout(10_000);
      door.close();
      door.close();
      assertThat(isSentAway(client)).isTrue();
    }
    assertThat(passed()).isEmpty();
    assertThatThrownBy(this::client).isInstanceOf(ConnectException.class);
    // The next instance has it.
    try (SpiceDoor next = new SpiceDoor("web1", () -> qmp)) {
      next.open(port);
      client().close();
      awaitPassed("getfd", "add_client");
    }
  }

  /// A client may come when the QEMU has something else to do.
  @Test
  void oneThatTheQemuDoesNotTakeKeepsNoOtherOut() throws Exception {
    Qmp qmp = openGreeted();
    peer.answer(
        "getfd",
        (id, to) -> {
          to.answer("getfd", (next, again) -> again.send(success(next, "{}")));
          to.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"not now\"}}\r\n");
        });
    try (SpiceDoor door = new SpiceDoor("web1", () -> qmp)) {
      door.open(port);
      try (Socket _ = client()) {
        awaitPassed("getfd");
      }
      try (Socket _ = client()) {
        awaitPassed("getfd", "getfd", "add_client");
      }
    }
  }

  @Test
  void aPortThatAnotherOneHasIsSaid() throws Exception {
    try (ServerSocket _ = new ServerSocket(port.getPort(), 1, port.getAddress());
        SpiceDoor door = new SpiceDoor("web1", this::openGreeted)) {
      assertThatThrownBy(() -> door.open(port))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessageContaining("EADDRINUSE");
    }
  }
}
