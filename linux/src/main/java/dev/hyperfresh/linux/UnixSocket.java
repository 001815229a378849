package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.hyperfresh.linux.Layouts.Cmsghdr;
import dev.hyperfresh.linux.Layouts.Iovec;
import dev.hyperfresh.linux.Layouts.Msghdr;
import dev.hyperfresh.linux.Layouts.SockaddrUn;
import dev.hyperfresh.linux.Layouts.Timeval;
import dev.hyperfresh.linux.Layouts.Ucred;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// A stream socket between processes of this host (`AF_UNIX`, `SOCK_STREAM`) through which
/// descriptors can travel.
///
/// One thread may send while another receives; two senders or two receivers at once would mix their
/// bytes. Close after the reader has returned: [#shutdown] wakes it.
public final class UnixSocket implements AutoCloseable {
  /// The longest path in bytes: `sun_path` has 108, and the last is the closing NUL.
  public static final int MAX_PATH = 107;

  /// The most descriptors that one [#send] carries.
  private static final int MAX_DESCRIPTORS = 64;

  // linux/limits.h NGROUPS_MAX
  private static final long MAX_GROUPS = 65_536;

  private static final long CONTROL_BYTES =
      Cmsghdr.TYPE.bytes() + (long) MAX_DESCRIPTORS * Integer.BYTES;
  private static final long IOVEC_AT = Msghdr.TYPE.bytes();
  private static final long CONTROL_AT = IOVEC_AT + Iovec.TYPE.bytes();
  private static final int STREAM = Constants.SOCK_STREAM | Constants.SOCK_CLOEXEC;
  private static final Fd[] NO_DESCRIPTORS = {};
  private static final long MAX_TIMEOUT_SECONDS = Integer.MAX_VALUE;

  private final Fd fd;

  private UnixSocket(Fd fd) {
    this.fd = fd;
  }

  /// Two sockets that are connected to each other.
  public record Pair(UnixSocket left, UnixSocket right) {}

  /// Who holds the other end, as the kernel saw it when the connection was made.
  public record Credentials(int pid, int uid, int gid) {}

  /// Makes a socket file and listens on it. The file stays after [#close]; whoever made it deletes
  /// it.
  ///
  /// @param mode the permissions of the file, such as `0600`; they hold before anyone can connect
  /// @throws IllegalArgumentException when the path is longer than [#MAX_PATH] bytes
  /// @throws LinuxException when the path is taken (`EADDRINUSE`) or its folder refuses
  public static UnixSocket listen(Path path, int mode) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = address(arena, path);
      Fd fd = stream(path.toString());
      try {
        int bytes = (int) address.byteSize();
        check(SocketCalls.bind(fd.number(), address, bytes), "bind", fd.label());
        check(FileCalls.chmod(arena.allocateFrom(fd.label()), mode), "chmod", fd.label());
        check(SocketCalls.listen(fd.number(), Constants.SOMAXCONN), "listen", fd.label());
      } catch (LinuxException refused) {
        fd.close();
        throw refused;
      }
      return new UnixSocket(fd);
    }
  }

  /// Connects to a socket file.
  ///
  /// @throws IllegalArgumentException when the path is longer than [#MAX_PATH] bytes
  /// @throws LinuxException when nobody listens (`ECONNREFUSED`) or there is no file (`ENOENT`)
  public static UnixSocket connect(Path path) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = address(arena, path);
      Fd fd = stream(path.toString());
      try {
        int done;
        do {
          done = SocketCalls.connect(fd.number(), address, (int) address.byteSize());
        } while (done == -Constants.EINTR);
        check(done, "connect", fd.label());
      } catch (LinuxException refused) {
        fd.close();
        throw refused;
      }
      return new UnixSocket(fd);
    }
  }

  /// Like [#connect(Path)], for a listener that may be busy: one that has a full queue of clients
  /// lets others wait.
  ///
  /// @param limit more than zero, rounded up to microseconds
  /// @throws LinuxException with `EAGAIN` when that lasts longer than `limit`
  public static UnixSocket connect(Path path, Duration limit) {
    return connect(path, path.toString(), limit);
  }

  /// As [#connect(Path, Duration)].
  ///
  /// @param label what errors call it
  static UnixSocket connect(Path path, String label, Duration limit) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment address = address(arena, path);
      UnixSocket socket = new UnixSocket(stream(label));
      try {
        // A connection waits as long as a sender does.
        socket.timeout(Constants.SO_SNDTIMEO, "SO_SNDTIMEO", limit);
        int done;
        do {
          done = SocketCalls.connect(socket.fd.number(), address, (int) address.byteSize());
        } while (done == -Constants.EINTR);
        check(done, "connect", socket.fd.label());
        socket.timeout(Constants.SO_SNDTIMEO, "SO_SNDTIMEO", Duration.ZERO);
        return socket;
      } catch (LinuxException refused) {
        socket.close();
        throw refused;
      }
    }
  }

  /// Makes two connected sockets without a file.
  public static Pair pair() {
    MemorySegment numbers = Scratch.mine().arguments();
    check(SocketCalls.socketpair(Constants.AF_UNIX, STREAM, numbers), "socketpair", "AF_UNIX");
    return new Pair(
        new UnixSocket(Fd.adopt(numbers.getAtIndex(JAVA_INT, 0), "left of a socket pair")),
        new UnixSocket(Fd.adopt(numbers.getAtIndex(JAVA_INT, 1), "right of a socket pair")));
  }

  /// Takes ownership of a connected or listening stream socket, such as one that was inherited.
  public static UnixSocket adopt(Fd fd) {
    return new UnixSocket(fd);
  }

  /// Waits for the next connection. [#shutdown] from another thread ends the wait with `EINVAL`.
  ///
  /// @throws LinuxException when the socket does not listen any more
  public UnixSocket accept() {
    int held = fd.acquire();
    try {
      int accepted;
      do {
        accepted = SocketCalls.accept4(held, Constants.SOCK_CLOEXEC);
      } while (accepted == -Constants.EINTR);
      check(accepted, "accept4", fd.label());
      return new UnixSocket(Fd.adopt(accepted, "connection to " + fd.label()));
    } finally {
      fd.release();
    }
  }

  /// Sends all bytes, and the descriptors together with the first of them. The other end gets its
  /// own copies; those given here stay open.
  ///
  /// @param descriptors at most 64; with any, there must be at least one byte
  /// @throws LinuxException when the other end is gone (`EPIPE`); some bytes may then have been
  ///   sent
  public void send(byte[] bytes, Fd... descriptors) {
    if (descriptors.length > MAX_DESCRIPTORS) {
      throw new IllegalArgumentException(
          "one message carries at most " + MAX_DESCRIPTORS + " descriptors: " + descriptors.length);
    }
    if (bytes.length == 0 && descriptors.length > 0) {
      throw new IllegalArgumentException("descriptors travel with a byte, so send at least one");
    }
    int held = fd.acquire();
    try {
      int sent = 0;
      while (sent < bytes.length) {
        sent += sendSome(held, bytes, sent, sent == 0 ? descriptors : NO_DESCRIPTORS);
      }
    } finally {
      fd.release();
    }
  }

  /// Waits for bytes and takes those that are there, at most 64 KiB, with the descriptors that came
  /// along. These have the close-on-exec flag and belong to the caller.
  ///
  /// @param buffer at least one byte long
  /// @param received where the descriptors are added, in the order in which they were sent
  /// @return the number of bytes, or -1 when the other end is closed
  /// @throws LinuxException with `EAGAIN` after [#receiveTimeout], or with `EMSGSIZE` when more
  ///   descriptors came than fit a message or this process may hold; all that came are then closed
  public int receive(byte[] buffer, List<Fd> received) {
    if (buffer.length == 0) {
      throw new IllegalArgumentException("a buffer of 0 bytes can receive nothing");
    }
    MemorySegment message = Scratch.mine().arguments();
    MemorySegment data = Scratch.mine().buffer();
    prepare(message, data, Math.min(buffer.length, Scratch.BUFFER_BYTES), CONTROL_BYTES);
    int held = fd.acquire();
    try {
      long got;
      do {
        got = SocketCalls.recvmsg(held, message, Constants.MSG_CMSG_CLOEXEC);
      } while (got == -Constants.EINTR);
      int bytes = (int) check(got, "recvmsg", fd.label());
      takeDescriptors(message, received);
      MemorySegment.copy(data, 0, MemorySegment.ofArray(buffer), 0, bytes);
      return bytes == 0 ? -1 : bytes;
    } finally {
      fd.release();
    }
  }

  /// Limits how long [#receive] and [#accept] wait before they throw `EAGAIN` (`SO_RCVTIMEO`).
  ///
  /// @param timeout rounded up to microseconds; zero waits for ever
  /// @throws IllegalArgumentException when it is negative
  public void receiveTimeout(Duration timeout) {
    if (timeout.isNegative()) {
      throw new IllegalArgumentException("a timeout cannot be negative: " + timeout);
    }
    timeout(Constants.SO_RCVTIMEO, "SO_RCVTIMEO", timeout);
  }

  /// Limits how long [#send] waits while the other end takes nothing, before it throws `EAGAIN`
  /// (`SO_SNDTIMEO`). It counts anew for every 64 KiB.
  ///
  /// @param timeout rounded up to microseconds; zero waits for ever
  /// @throws IllegalArgumentException when it is negative
  public void sendTimeout(Duration timeout) {
    if (timeout.isNegative()) {
      throw new IllegalArgumentException("a timeout cannot be negative: " + timeout);
    }
    timeout(Constants.SO_SNDTIMEO, "SO_SNDTIMEO", timeout);
  }

  private void timeout(int option, String label, Duration timeout) {
    Duration rounded = timeout.plusNanos(999);
    MemorySegment value = Scratch.mine().arguments();
    Timeval.tv_sec.set(value, Math.min(rounded.toSeconds(), MAX_TIMEOUT_SECONDS));
    Timeval.tv_usec.set(value, rounded.toNanosPart() / 1000);
    int held = fd.acquire();
    try {
      int bytes = (int) Timeval.TYPE.bytes();
      int done = SocketCalls.setsockopt(held, Constants.SOL_SOCKET, option, value, bytes);
      check(done, "setsockopt " + label, fd.label());
    } finally {
      fd.release();
    }
  }

  /// Who holds the other end (`SO_PEERCRED`).
  public Credentials peer() {
    MemorySegment value = Scratch.mine().arguments();
    MemorySegment length = value.asSlice(Ucred.TYPE.bytes(), Integer.BYTES);
    length.set(JAVA_INT, 0, (int) Ucred.TYPE.bytes());
    int held = fd.acquire();
    try {
      int done =
          SocketCalls.getsockopt(held, Constants.SOL_SOCKET, Constants.SO_PEERCRED, value, length);
      check(done, "getsockopt SO_PEERCRED", fd.label());
      return new Credentials(Ucred.pid.get(value), Ucred.uid.get(value), Ucred.gid.get(value));
    } finally {
      fd.release();
    }
  }

  /// The supplementary groups of who holds the other end (`SO_PEERGROUPS`), as the kernel saw them
  /// when the connection was made.
  public List<Integer> peerGroups() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment numbers = arena.allocate(MAX_GROUPS * Integer.BYTES, Integer.BYTES);
      MemorySegment length = arena.allocateFrom(JAVA_INT, (int) numbers.byteSize());
      int held = fd.acquire();
      try {
        int done =
            SocketCalls.getsockopt(
                held, Constants.SOL_SOCKET, Constants.SO_PEERGROUPS, numbers, length);
        check(done, "getsockopt SO_PEERGROUPS", fd.label());
      } finally {
        fd.release();
      }
      List<Integer> groups = new ArrayList<>();
      for (int i = 0; i < length.get(JAVA_INT, 0) / Integer.BYTES; i++) {
        groups.add(numbers.getAtIndex(JAVA_INT, i));
      }
      return groups;
    }
  }

  /// The file at which it listens, as whoever made it wrote its path; empty when it does not
  /// listen, or not at a file, or is a socket of another family.
  public Optional<Path> listensAt() {
    MemorySegment value = Scratch.mine().arguments();
    MemorySegment length = value.asSlice(SockaddrUn.TYPE.bytes() + Short.BYTES, Integer.BYTES);
    int held = fd.acquire();
    try {
      length.set(JAVA_INT, 0, Integer.BYTES);
      int asked =
          SocketCalls.getsockopt(
              held, Constants.SOL_SOCKET, Constants.SO_ACCEPTCONN, value, length);
      check(asked, "getsockopt SO_ACCEPTCONN", fd.label());
      if (value.get(JAVA_INT, 0) == 0) {
        return Optional.empty();
      }
      length.set(JAVA_INT, 0, (int) SockaddrUn.TYPE.bytes());
      check(SocketCalls.getsockname(held, value, length), "getsockname", fd.label());
    } finally {
      fd.release();
    }
    long bytes = Math.min(length.get(JAVA_INT, 0), SockaddrUn.TYPE.bytes());
    boolean named = bytes > SockaddrUn.sun_path.at() + 1 && isUnix(value);
    return named
        ? path(value.asSlice(SockaddrUn.sun_path.at(), bytes - SockaddrUn.sun_path.at()))
        : Optional.empty();
  }

  private static boolean isUnix(MemorySegment address) {
    return SockaddrUn.sun_family.get(address) == Constants.AF_UNIX;
  }

  /// A name that begins with a NUL is none of a file.
  private static Optional<Path> path(MemorySegment name) {
    String path = new String(name.toArray(JAVA_BYTE), StandardCharsets.UTF_8);
    int end = path.indexOf('\0');
    String text = end < 0 ? path : path.substring(0, end);
    try {
      return text.isEmpty() ? Optional.empty() : Optional.of(Path.of(text));
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /// Says that nothing more will be sent (`SHUT_WR`); what the other end sends still arrives.
  ///
  /// @throws LinuxException with `ENOTCONN` when there is no connection
  public void shutdownOutput() {
    shutdown(Constants.SHUT_WR, "shutdown SHUT_WR");
  }

  /// Takes nothing more in (`SHUT_RD`): what has already arrived can still be read, then a reader
  /// gets the end.
  ///
  /// @throws LinuxException with `ENOTCONN` when there is no connection
  public void shutdownInput() {
    shutdown(Constants.SHUT_RD, "shutdown SHUT_RD");
  }

  /// Ends the connection in both directions (`SHUT_RDWR`), for every process that holds it. A
  /// thread that waits in [#receive] gets -1, one in [#accept] `EINVAL`; that thread then closes.
  ///
  /// @throws LinuxException with `ENOTCONN` when there is no connection
  public void shutdown() {
    shutdown(Constants.SHUT_RDWR, "shutdown");
  }

  private void shutdown(int how, String call) {
    int held = fd.acquire();
    try {
      check(SocketCalls.shutdown(held, how), call, fd.label());
    } finally {
      fd.release();
    }
  }

  /// The descriptor, which this object owns.
  public Fd fd() {
    return fd;
  }

  /// Closes the descriptor; the connection ends when no process holds it any more.
  @Override
  public void close() {
    fd.close();
  }

  private int sendSome(int held, byte[] bytes, int from, Fd[] descriptors) {
    Scratch scratch = Scratch.mine();
    int length = Math.min(bytes.length - from, Scratch.BUFFER_BYTES);
    MemorySegment.copy(bytes, from, scratch.buffer(), JAVA_BYTE, 0, length);
    MemorySegment message = scratch.arguments();
    long control = controlBytes(descriptors.length);
    prepare(message, scratch.buffer(), length, control);
    int acquired = 0;
    try {
      for (; acquired < descriptors.length; acquired++) {
        putDescriptor(message, acquired, descriptors[acquired].acquire());
      }
      putHeader(message, descriptors.length);
      long sent;
      do {
        sent = SocketCalls.sendmsg(held, message, Constants.MSG_NOSIGNAL);
      } while (sent == -Constants.EINTR);
      return (int) check(sent, "sendmsg", fd.label());
    } finally {
      for (int i = 0; i < acquired; i++) {
        descriptors[i].release();
      }
    }
  }

  // CMSG_SPACE: the payload is padded to whole words.
  private static long controlBytes(int descriptors) {
    long payload = (long) descriptors * Integer.BYTES;
    return descriptors == 0 ? 0 : Cmsghdr.TYPE.bytes() + (payload + 7) / 8 * 8;
  }

  private static void prepare(MemorySegment message, MemorySegment data, long bytes, long control) {
    message.fill((byte) 0);
    MemorySegment iovec = message.asSlice(IOVEC_AT, Iovec.TYPE.bytes());
    Iovec.iov_base.set(iovec, data);
    Iovec.iov_len.set(iovec, bytes);
    Msghdr.msg_iov.set(message, iovec);
    Msghdr.msg_iovlen.set(message, 1);
    if (control > 0) {
      Msghdr.msg_control.set(message, message.asSlice(CONTROL_AT, control));
      Msghdr.msg_controllen.set(message, control);
    }
  }

  private static void putHeader(MemorySegment message, int descriptors) {
    if (descriptors == 0) {
      return;
    }
    MemorySegment header = message.asSlice(CONTROL_AT, Cmsghdr.TYPE.bytes());
    Cmsghdr.cmsg_len.set(header, Cmsghdr.TYPE.bytes() + (long) descriptors * Integer.BYTES);
    Cmsghdr.cmsg_level.set(header, Constants.SOL_SOCKET);
    Cmsghdr.cmsg_type.set(header, Constants.SCM_RIGHTS);
  }

  private static void putDescriptor(MemorySegment message, int index, int number) {
    message.set(JAVA_INT, CONTROL_AT + Cmsghdr.TYPE.bytes() + (long) index * Integer.BYTES, number);
  }

  // Only SCM_RIGHTS is ever asked for, so there is at most one control message.
  private void takeDescriptors(MemorySegment message, List<Fd> received) {
    MemorySegment header = message.asSlice(CONTROL_AT, Cmsghdr.TYPE.bytes());
    List<Fd> came = new ArrayList<>();
    if (Msghdr.msg_controllen.get(message) >= Cmsghdr.TYPE.bytes()
        && Cmsghdr.cmsg_level.get(header) == Constants.SOL_SOCKET
        && Cmsghdr.cmsg_type.get(header) == Constants.SCM_RIGHTS) {
      long end = CONTROL_AT + Cmsghdr.cmsg_len.get(header);
      for (long at = CONTROL_AT + Cmsghdr.TYPE.bytes(); at < end; at += Integer.BYTES) {
        came.add(Fd.adopt(message.get(JAVA_INT, at), "received from " + fd.label()));
      }
    }
    if ((Msghdr.msg_flags.get(message) & Constants.MSG_CTRUNC) != 0) {
      came.forEach(Fd::close);
      throw LinuxException.of(
          "recvmsg", fd.label() + " (some descriptors were lost)", Constants.EMSGSIZE);
    }
    received.addAll(came);
  }

  private static Fd stream(String label) {
    return Fd.adopt(
        check(SocketCalls.socket(Constants.AF_UNIX, STREAM), "socket AF_UNIX", label), label);
  }

  private static MemorySegment address(Arena arena, Path path) {
    byte[] name = path.toString().getBytes(StandardCharsets.UTF_8);
    if (name.length == 0 || name.length > MAX_PATH) {
      throw new IllegalArgumentException(
          "the socket path %s has %d bytes and may have 1 to %d: choose a shorter folder"
              .formatted(path, name.length, MAX_PATH));
    }
    MemorySegment address = arena.allocate(SockaddrUn.TYPE.bytes(), Long.BYTES);
    SockaddrUn.sun_family.set(address, Constants.AF_UNIX);
    SockaddrUn.sun_path.in(address).copyFrom(MemorySegment.ofArray(name));
    return address;
  }
}
