package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.SockaddrUn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/// The datagram socket on which a service manager hears how a process stands; see sd_notify(3). May
/// be used by any thread.
public final class NotifySocket implements AutoCloseable {
  private static final String VARIABLE = "NOTIFY_SOCKET";
  private static final int DATAGRAM = Constants.SOCK_DGRAM | Constants.SOCK_CLOEXEC;

  // sys/un.h: what is before sun_path.
  private static final int PATH_AT = (int) SockaddrUn.TYPE.bytes() - UnixSocket.MAX_PATH - 1;

  private final UnixSocket socket;

  private NotifySocket(UnixSocket socket) {
    this.socket = socket;
  }

  /// The one that this process was given (`NOTIFY_SOCKET`).
  ///
  /// @return empty when no service manager wants to hear anything
  /// @throws IllegalArgumentException, LinuxException as [#open]
  public static Optional<NotifySocket> ofEnvironment() {
    String name = System.getenv(VARIABLE);
    return name == null || name.isEmpty() ? Optional.empty() : Optional.of(open(name));
  }

  /// Connects to the socket called `name`: an absolute path, or `@` and a name of the kernel's own
  /// list of sockets.
  ///
  /// @throws IllegalArgumentException when it is neither, or longer than [UnixSocket#MAX_PATH]
  ///   bytes
  /// @throws LinuxException when nobody listens there
  static NotifySocket open(String name) {
    Fd fd = Fd.adopt(check(SocketCalls.socket(Constants.AF_UNIX, DATAGRAM), "socket", name), name);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = address(arena, name);
      check(
          SocketCalls.connect(fd.number(), address, (int) address.byteSize()),
          "connect",
          fd.label());
      return new NotifySocket(UnixSocket.adopt(fd));
    } catch (LinuxException | IllegalArgumentException refused) {
      fd.close();
      throw refused;
    }
  }

  /// As long as the name is: in a name of the kernel's list every byte counts, NUL too.
  static MemorySegment address(Arena arena, String name) {
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    if (bytes.length < 2 || bytes.length > UnixSocket.MAX_PATH || "/@".indexOf(bytes[0]) < 0) {
      throw new IllegalArgumentException(
          "'"
              + name
              + "' is neither an absolute path nor '@' and a name, of at most "
              + UnixSocket.MAX_PATH
              + " bytes");
    }
    if (bytes[0] == '@') {
      bytes[0] = 0;
    }
    MemorySegment address = arena.allocate(SockaddrUn.TYPE.bytes(), Long.BYTES);
    SockaddrUn.sun_family.set(address, Constants.AF_UNIX);
    SockaddrUn.sun_path.in(address).copyFrom(MemorySegment.ofArray(bytes));
    return address.asSlice(0, PATH_AT + bytes.length);
  }

  /// Sends one message, such as `READY=1`; several assignments are separated by line feeds.
  ///
  /// @throws LinuxException when nobody listens any more
  public void send(String message) {
    socket.send(message.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public void close() {
    socket.close();
  }
}
