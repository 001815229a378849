package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.UnixSocket;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The socket of a screen, on its way from one QEMU to the next. The peer keeps what it is passed.
@Timeout(20)
class ScreenSocketTest extends QmpConversation {
  private static final List<String> PASSED =
      List.of("query-vnc-servers", "getfd", "display-update");

  @TempDir Path folder;

  @Test
  void itIsPassedOnUnlessItIsServed() throws IOException {
    Qmp qmp = openGreeted();
    ScreenSocket socket = new ScreenSocket(folder.resolve("web1.vnc"));
    peer.answer("query-vnc-servers", (id, to) -> to.send(success(id, "[]")));

    assertThat(take(socket, qmp)).isEmpty();
    assertThat(peer.commands).endsWith(PASSED.toArray(String[]::new));
    assertThat(peer.arguments.getLast().toString())
        .contains("\"type\":\"vnc\"", "\"type\":\"fd\"", "\"str\":\"screen\"");
    UnixSocket.connect(socket.path()).close();

    String served = "[{\"server\":[{\"host\":\"\",\"service\":\"" + socket.path() + "\"}]}]";
    peer.answer("query-vnc-servers", (id, to) -> to.send(success(id, served)));
    int before = peer.commands.size();
    assertThat(take(socket, qmp)).isEmpty();
    assertThat(peer.commands.subList(before, peer.commands.size()))
        .containsExactly("query-vnc-servers");

    Files.delete(socket.path());
    assertThat(take(socket, qmp)).isEmpty();
    assertThat(peer.commands).endsWith(PASSED.toArray(String[]::new));
    UnixSocket.connect(socket.path()).close();
  }

  @Test
  void whatTheQemuSaysIsToldWithThePath() {
    Qmp qmp = openGreeted();
    peer.answer("query-vnc-servers", (id, to) -> to.send(success(id, "[]")));
    peer.answer(
        "display-update",
        (id, to) -> to.send("{\"id\":\"" + id + "\",\"error\":{\"desc\":\"no screen\"}}\r\n"));
    ScreenSocket socket = new ScreenSocket(folder.resolve("web1.vnc"));

    assertThat(take(socket, qmp).orElseThrow())
        .contains("Its screen is not shown at " + socket.path(), "no screen", "try again");
  }

  /// Another process of the guest may serve it by now.
  @Test
  void itIsRemovedWhenNobodyServesIt() {
    ScreenSocket socket = new ScreenSocket(folder.resolve("web1.vnc"));
    try (UnixSocket _ = UnixSocket.listen(socket.path(), 0600)) {
      socket.removeIfLeft();
      assertThat(socket.path()).exists();
    }
    socket.removeIfLeft();
    assertThat(socket.path()).doesNotExist();
    socket.removeIfLeft();
  }

  private static Optional<String> take(ScreenSocket socket, Qmp qmp) {
    return socket.takenLater(qmp).take((command, arguments) -> qmp.execute(command, arguments), 1);
  }
}
