package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on processes by descriptor. Each answers with its value or with `-errno`.
final class PidCalls {
  private PidCalls() {}

  private static final MethodHandle PIDFD_OPEN = Symbol.PIDFD_OPEN.link();
  private static final MethodHandle PIDFD_GETFD = Symbol.PIDFD_GETFD.link();
  private static final MethodHandle PIDFD_SEND_SIGNAL = Symbol.PIDFD_SEND_SIGNAL.link();
  private static final MethodHandle PROCESS_VM_READV = Symbol.PROCESS_VM_READV.link();
  private static final MethodHandle WAITID = Symbol.WAITID.link();

  static int pidfdOpen(int pid) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) PIDFD_OPEN.invokeExact(errno, pid, 0), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int pidfdGetfd(int pidfd, int number) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) PIDFD_GETFD.invokeExact(errno, pidfd, number, 0), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int pidfdSendSignal(int pidfd, int signal) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) PIDFD_SEND_SIGNAL.invokeExact(errno, pidfd, signal, MemorySegment.NULL, 0), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long processVmReadv(
      int pid, MemorySegment local, long locals, MemorySegment remote, long remotes) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long) PROCESS_VM_READV.invokeExact(errno, pid, local, locals, remote, remotes, 0L),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int waitid(int type, int id, MemorySegment info, int options) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) WAITID.invokeExact(errno, type, id, info, options), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
