package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A fake service manager hears what is said.
@Timeout(20)
class NotifySocketTest {
  @TempDir Path folder;

  /// A datagram socket that has that name.
  private static UnixSocket manager(String name) {
    Fd fd =
        Fd.adopt(
            SocketCalls.socket(Constants.AF_UNIX, Constants.SOCK_DGRAM | Constants.SOCK_CLOEXEC),
            name);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = NotifySocket.address(arena, name);
      LinuxException.check(
          SocketCalls.bind(fd.number(), address, (int) address.byteSize()), "bind", name);
    }
    UnixSocket socket = UnixSocket.adopt(fd);
    socket.receiveTimeout(Duration.ofSeconds(5));
    return socket;
  }

  private static String heard(UnixSocket manager) {
    byte[] buffer = new byte[256];
    int bytes = manager.receive(buffer, new ArrayList<>());
    return new String(buffer, 0, bytes, StandardCharsets.UTF_8);
  }

  @Test
  void eachMessageIsOneDatagram() {
    String name = folder.resolve("notify").toString();
    try (UnixSocket manager = manager(name);
        NotifySocket socket = NotifySocket.open(name)) {
      socket.send("READY=1");
      socket.send("MAINPID=4711\nSTATUS=zwei Gäste");

      assertThat(heard(manager)).isEqualTo("READY=1");
      assertThat(heard(manager)).isEqualTo("MAINPID=4711\nSTATUS=zwei Gäste");
    }
  }

  @Test
  void aNameWithoutAFileIsOneOfTheKernels() {
    String name = "@hyperfresh-test/" + UUID.randomUUID();
    try (UnixSocket manager = manager(name);
        NotifySocket socket = NotifySocket.open(name)) {
      socket.send("WATCHDOG=1");

      assertThat(heard(manager)).isEqualTo("WATCHDOG=1");
    }
  }

  @Test
  void withoutAListenerItIsRefused() {
    assertThatThrownBy(() -> NotifySocket.open(folder.resolve("nobody").toString()))
        .isInstanceOfSatisfying(
            LinuxException.class, e -> assertThat(e.errnoName()).isEqualTo("ENOENT"));
  }

  @Test
  void aListenerThatHasGoneIsNoticed() {
    String name = folder.resolve("notify").toString();
    UnixSocket manager = manager(name);
    try (NotifySocket socket = NotifySocket.open(name)) {
      manager.close();
      assertThatThrownBy(() -> socket.send("READY=1")).isInstanceOf(LinuxException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"relative/path", "@", "vsock:2:1234", "/"})
  void anotherKindOfNameIsRefused(String name) {
    assertThatThrownBy(() -> NotifySocket.open(name)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aNameThatIsTooLongIsRefused() {
    assertThatThrownBy(() -> NotifySocket.open("/" + "d".repeat(UnixSocket.MAX_PATH)))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
