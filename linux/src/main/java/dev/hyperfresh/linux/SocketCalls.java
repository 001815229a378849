package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on sockets. Each answers with its value or with `-errno`.
final class SocketCalls {
  private SocketCalls() {}

  private static final MethodHandle SOCKET = Symbol.SOCKET.link();
  private static final MethodHandle SOCKETPAIR = Symbol.SOCKETPAIR.link();
  private static final MethodHandle BIND = Symbol.BIND.link();
  private static final MethodHandle LISTEN = Symbol.LISTEN.link();
  private static final MethodHandle CONNECT = Symbol.CONNECT.link();
  private static final MethodHandle ACCEPT4 = Symbol.ACCEPT4.link();
  private static final MethodHandle SENDMSG = Symbol.SENDMSG.link();
  private static final MethodHandle RECVMSG = Symbol.RECVMSG.link();
  private static final MethodHandle SETSOCKOPT = Symbol.SETSOCKOPT.link();
  private static final MethodHandle GETSOCKOPT = Symbol.GETSOCKOPT.link();
  private static final MethodHandle GETSOCKNAME = Symbol.GETSOCKNAME.link();
  private static final MethodHandle SHUTDOWN = Symbol.SHUTDOWN.link();

  static int socket(int family, int type) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SOCKET.invokeExact(errno, family, type, 0), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int socketpair(int family, int type, MemorySegment pair) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SOCKETPAIR.invokeExact(errno, family, type, 0, pair), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int bind(int fd, MemorySegment address, int bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) BIND.invokeExact(errno, fd, address, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int listen(int fd, int backlog) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) LISTEN.invokeExact(errno, fd, backlog), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int connect(int fd, MemorySegment address, int bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) CONNECT.invokeExact(errno, fd, address, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int accept4(int fd, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) ACCEPT4.invokeExact(errno, fd, MemorySegment.NULL, MemorySegment.NULL, flags),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long sendmsg(int fd, MemorySegment message, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((long) SENDMSG.invokeExact(errno, fd, message, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long recvmsg(int fd, MemorySegment message, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((long) RECVMSG.invokeExact(errno, fd, message, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int setsockopt(int fd, int level, int option, MemorySegment value, int bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) SETSOCKOPT.invokeExact(errno, fd, level, option, value, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int getsockopt(int fd, int level, int option, MemorySegment value, MemorySegment bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) GETSOCKOPT.invokeExact(errno, fd, level, option, value, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int getsockname(int fd, MemorySegment address, MemorySegment bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) GETSOCKNAME.invokeExact(errno, fd, address, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int shutdown(int fd, int how) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SHUTDOWN.invokeExact(errno, fd, how), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
