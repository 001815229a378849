package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on descriptors and files. Each answers with its value or with `-errno`.
final class FileCalls {
  private FileCalls() {}

  private static final MethodHandle OPEN = Symbol.OPEN.link();
  private static final MethodHandle CLOSE = Symbol.CLOSE.link();
  private static final MethodHandle READ = Symbol.READ.link();
  private static final MethodHandle WRITE = Symbol.WRITE.link();
  private static final MethodHandle FDATASYNC = Symbol.FDATASYNC.link();
  private static final MethodHandle PIPE2 = Symbol.PIPE2.link();
  private static final MethodHandle FCNTL = Symbol.FCNTL.link();
  private static final MethodHandle PPOLL = Symbol.PPOLL.link();
  private static final MethodHandle CHMOD = Symbol.CHMOD.link();

  static int open(MemorySegment path, int flags, int mode) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) OPEN.invokeExact(errno, path, flags, mode), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int close(int fd) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) CLOSE.invokeExact(errno, fd), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long read(int fd, MemorySegment buffer, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((long) READ.invokeExact(errno, fd, buffer, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long write(int fd, MemorySegment buffer, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((long) WRITE.invokeExact(errno, fd, buffer, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int fdatasync(int fd) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FDATASYNC.invokeExact(errno, fd), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int pipe2(MemorySegment ends, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) PIPE2.invokeExact(errno, ends, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int fcntl(int fd, int command, int argument) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FCNTL.invokeExact(errno, fd, command, argument), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int ppoll(MemorySegment descriptors, long count, MemorySegment timeout) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) PPOLL.invokeExact(errno, descriptors, count, timeout, MemorySegment.NULL), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int chmod(MemorySegment path, int mode) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) CHMOD.invokeExact(errno, path, mode), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
