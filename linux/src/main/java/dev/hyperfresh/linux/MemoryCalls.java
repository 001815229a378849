package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on memory files and mappings. Each answers with its value or with `-errno`.
final class MemoryCalls {
  private MemoryCalls() {}

  private static final MethodHandle MEMFD_CREATE = Symbol.MEMFD_CREATE.link();
  private static final MethodHandle FTRUNCATE = Symbol.FTRUNCATE.link();
  private static final MethodHandle FSTAT = Symbol.FSTAT.link();
  private static final MethodHandle FSTATFS = Symbol.FSTATFS.link();
  private static final MethodHandle FALLOCATE = Symbol.FALLOCATE.link();
  private static final MethodHandle LSEEK = Symbol.LSEEK.link();
  private static final MethodHandle MMAP = Symbol.MMAP.link();
  private static final MethodHandle MUNMAP = Symbol.MUNMAP.link();

  static int memfdCreate(MemorySegment name, int flags) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) MEMFD_CREATE.invokeExact(errno, name, flags), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int ftruncate(int fd, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FTRUNCATE.invokeExact(errno, fd, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int fstat(int fd, MemorySegment stat) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FSTAT.invokeExact(errno, fd, stat), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int fstatfs(int fd, MemorySegment statfs) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FSTATFS.invokeExact(errno, fd, statfs), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int fallocate(int fd, int mode, long offset, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) FALLOCATE.invokeExact(errno, fd, mode, offset, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long lseek(int fd, long offset, int whence) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((long) LSEEK.invokeExact(errno, fd, offset, whence), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// Answers with the address. No address is so high that it could be taken for an error.
  static long mmap(long bytes, int protection, int flags, int fd) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      MemorySegment mapped =
          (MemorySegment)
              MMAP.invokeExact(errno, MemorySegment.NULL, bytes, protection, flags, fd, 0L);
      return Errno.result(mapped.address(), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int munmap(MemorySegment address, long bytes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) MUNMAP.invokeExact(errno, address, bytes), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
