package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on signal sets and threads. Each answers with its value or with `-errno`.
final class SignalCalls {
  private SignalCalls() {}

  private static final MethodHandle SIGEMPTYSET = Symbol.SIGEMPTYSET.link();
  private static final MethodHandle SIGFILLSET = Symbol.SIGFILLSET.link();
  private static final MethodHandle SIGADDSET = Symbol.SIGADDSET.link();
  private static final MethodHandle PTHREAD_SIGMASK = Symbol.PTHREAD_SIGMASK.link();
  private static final MethodHandle TGKILL = Symbol.TGKILL.link();
  private static final MethodHandle KILL = Symbol.KILL.link();

  static int sigemptyset(MemorySegment signals) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SIGEMPTYSET.invokeExact(errno, signals), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int sigfillset(MemorySegment signals) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SIGFILLSET.invokeExact(errno, signals), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int sigaddset(MemorySegment signals, int signal) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SIGADDSET.invokeExact(errno, signals, signal), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// Answers with 0 or with a positive error number.
  static int pthreadSigmask(int how, MemorySegment signals) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) PTHREAD_SIGMASK.invokeExact(errno, how, signals, MemorySegment.NULL), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// @param pid a negative one stands for the group of processes with that number
  static int kill(int pid, int signal) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) KILL.invokeExact(errno, pid, signal), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int tgkill(int pid, int tid, int signal) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) TGKILL.invokeExact(errno, pid, tid, signal), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
