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

  /// Linked when a folder is first used, which no switch-over does.
  private static final class Folders {
    static final MethodHandle OPENAT2 = Symbol.SYSCALL_OPENAT2.link();
    static final MethodHandle UNLINKAT = Symbol.UNLINKAT.link();
    static final MethodHandle RENAMEAT = Symbol.RENAMEAT.link();
    static final MethodHandle RENAMEAT2 = Symbol.RENAMEAT2.link();
    static final MethodHandle MKDIRAT = Symbol.MKDIRAT.link();
    static final MethodHandle GETDENTS64 = Symbol.GETDENTS64.link();
    static final MethodHandle STATX = Symbol.STATX.link();
    static final MethodHandle FSYNC = Symbol.FSYNC.link();
  }

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

  static int fsync(int fd) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) Folders.FSYNC.invokeExact(errno, fd), errno);
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

  static int openat2(int folder, MemorySegment path, MemorySegment how, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return (int)
          Errno.result(
              (long)
                  Folders.OPENAT2.invokeExact(
                      errno, (long) Constants.SYS_openat2, folder, path, how, bytes),
              errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int unlinkat(int folder, MemorySegment path, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) Folders.UNLINKAT.invokeExact(errno, folder, path, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int renameat(int from, MemorySegment path, int to, MemorySegment newPath) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) Folders.RENAMEAT.invokeExact(errno, from, path, to, newPath), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int renameat2(int from, MemorySegment path, int to, MemorySegment newPath, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) Folders.RENAMEAT2.invokeExact(errno, from, path, to, newPath, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int mkdirat(int folder, MemorySegment path, int mode) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) Folders.MKDIRAT.invokeExact(errno, folder, path, mode), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long getdents64(int folder, MemorySegment buffer, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long) Folders.GETDENTS64.invokeExact(errno, folder, buffer, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int statx(MemorySegment path, int flags, int mask, MemorySegment found) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) Folders.STATX.invokeExact(errno, Constants.AT_FDCWD, path, flags, mask, found),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
