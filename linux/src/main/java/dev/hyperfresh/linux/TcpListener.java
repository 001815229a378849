package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.SockaddrIn;
import dev.hyperfresh.linux.Layouts.SockaddrIn6;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;

/// A TCP port at which this process listens, for connections whose descriptors go to other
/// processes.
///
/// Close after the thread that waits in [#accept] has returned: [#shutdown] wakes it.
public final class TcpListener implements AutoCloseable {
  private static final int STREAM = Constants.SOCK_STREAM | Constants.SOCK_CLOEXEC;

  private final Fd fd;

  private TcpListener(Fd fd) {
    this.fd = fd;
  }

  /// Listens. Connections of an earlier listener that still exist are no obstacle (`SO_REUSEADDR`).
  ///
  /// @param at an address of this host, or all of them, as a number
  /// @throws IllegalArgumentException when it is a name that was not looked up
  /// @throws LinuxException when another process listens there (`EADDRINUSE`), or the host has no
  ///   such address (`EADDRNOTAVAIL`)
  public static TcpListener listen(InetSocketAddress at) {
    InetAddress host = at.getAddress();
    if (host == null) {
      throw new IllegalArgumentException(at + " is no address");
    }
    String label = "tcp:" + host.getHostAddress() + ":" + at.getPort();
    int family = host instanceof Inet6Address ? Constants.AF_INET6 : Constants.AF_INET;
    Fd fd = Fd.adopt(check(SocketCalls.socket(family, STREAM), "socket", label), label);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment on = arena.allocateFrom(JAVA_INT, 1);
      int socket = Constants.SOL_SOCKET;
      check(
          SocketCalls.setsockopt(fd.number(), socket, Constants.SO_REUSEADDR, on, Integer.BYTES),
          "setsockopt SO_REUSEADDR",
          label);
      MemorySegment address = address(arena, host, at.getPort());
      check(SocketCalls.bind(fd.number(), address, (int) address.byteSize()), "bind", label);
      check(SocketCalls.listen(fd.number(), Constants.SOMAXCONN), "listen", label);
    } catch (LinuxException refused) {
      fd.close();
      throw refused;
    }
    return new TcpListener(fd);
  }

  private static MemorySegment address(Arena arena, InetAddress host, int port) {
    MemorySegment bytes = MemorySegment.ofArray(host.getAddress());
    // In the order of the network.
    MemorySegment number = MemorySegment.ofArray(new byte[] {(byte) (port >> 8), (byte) port});
    if (host instanceof Inet6Address six) {
      MemorySegment address = arena.allocate(SockaddrIn6.TYPE.bytes(), Long.BYTES);
      SockaddrIn6.sin6_family.set(address, Constants.AF_INET6);
      SockaddrIn6.sin6_port.in(address).copyFrom(number);
      SockaddrIn6.sin6_addr.in(address).copyFrom(bytes);
      SockaddrIn6.sin6_scope_id.set(address, six.getScopeId());
      return address;
    }
    MemorySegment address = arena.allocate(SockaddrIn.TYPE.bytes(), Long.BYTES);
    SockaddrIn.sin_family.set(address, Constants.AF_INET);
    SockaddrIn.sin_port.in(address).copyFrom(number);
    SockaddrIn.sin_addr.in(address).copyFrom(bytes);
    return address;
  }

  /// Waits for the next connection. [#shutdown] from another thread ends the wait with `EINVAL`.
  ///
  /// @throws LinuxException also when a connection ended before it was accepted (`ECONNABORTED`),
  ///   or this process may have no more descriptors
  public Fd accept() {
    int held = fd.acquire();
    try {
      int accepted;
      do {
        accepted = SocketCalls.accept4(held, Constants.SOCK_CLOEXEC);
      } while (accepted == -Constants.EINTR);
      check(accepted, "accept4", fd.label());
      return Fd.adopt(accepted, "connection to " + fd.label());
    } finally {
      fd.release();
    }
  }

  /// Listens no more. A thread that waits in [#accept] gets `EINVAL` and then closes.
  public void shutdown() {
    int held = fd.acquire();
    try {
      check(SocketCalls.shutdown(held, Constants.SHUT_RDWR), "shutdown", fd.label());
    } finally {
      fd.release();
    }
  }

  @Override
  public void close() {
    fd.close();
  }
}
