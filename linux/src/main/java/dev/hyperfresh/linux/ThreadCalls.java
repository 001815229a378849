package dev.hyperfresh.linux;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/// Calls on the clock, the scheduler and the calling thread. Each answers with its value or with
/// `-errno`.
final class ThreadCalls {
  private ThreadCalls() {}

  private static final MethodHandle CLOCK_GETTIME = Symbol.CLOCK_GETTIME.link();
  private static final MethodHandle SCHED_SETSCHEDULER = Symbol.SCHED_SETSCHEDULER.link();
  private static final MethodHandle SCHED_SETAFFINITY = Symbol.SCHED_SETAFFINITY.link();
  private static final MethodHandle SETPRIORITY = Symbol.SETPRIORITY.link();
  private static final MethodHandle PRCTL = Symbol.PRCTL.link();
  private static final MethodHandle GETTID = Symbol.GETTID.link();
  private static final MethodHandle GETEUID = Symbol.GETEUID.link();
  private static final MethodHandle SETNS = Symbol.SETNS.link();

  static int clockGettime(int clock, MemorySegment time) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) CLOCK_GETTIME.invokeExact(errno, clock, time), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int schedSetscheduler(int tid, int policy, MemorySegment parameters) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (int) SCHED_SETSCHEDULER.invokeExact(errno, tid, policy, parameters), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int schedSetaffinity(int tid, long bytes, MemorySegment cores) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SCHED_SETAFFINITY.invokeExact(errno, tid, bytes, cores), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int setpriority(int which, int who, int nice) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SETPRIORITY.invokeExact(errno, which, who, nice), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int prctl(int option, long argument) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) PRCTL.invokeExact(errno, option, argument), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int gettid() {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) GETTID.invokeExact(errno), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int geteuid() {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) GETEUID.invokeExact(errno), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static int setns(int fd, int type) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result((int) SETNS.invokeExact(errno, fd, type), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
