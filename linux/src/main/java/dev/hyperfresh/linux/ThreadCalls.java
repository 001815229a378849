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
  private static final MethodHandle SETFSUID = Symbol.SETFSUID.link();
  private static final MethodHandle SETFSGID = Symbol.SETFSGID.link();
  private static final MethodHandle SETRESID = Symbol.SYSCALL_SETRESID.link();
  private static final MethodHandle SETGROUPS = Symbol.SYSCALL_SETGROUPS.link();
  private static final MethodHandle CAPSET = Symbol.SYSCALL_CAPSET.link();

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

  /// The user whose rights the calling thread had to files; -1 for `uid` changes nothing.
  static int setfsuid(int uid) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      // It has no errors: -1 is the number of a user.
      return (int) SETFSUID.invokeExact(errno, uid);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// As [#setfsuid], of the group.
  static int setfsgid(int gid) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return (int) SETFSGID.invokeExact(errno, gid);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// Sets the effective user, and with it that of files, of the calling thread alone, whereas the
  /// function of the C library is for all threads. The real and the saved one stay.
  static long seteuid(int uid) {
    return setresid(Constants.SYS_setresuid, uid);
  }

  /// As [#seteuid], of the group.
  static long setegid(int gid) {
    return setresid(Constants.SYS_setresgid, gid);
  }

  private static long setresid(int call, int effective) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long) SETRESID.invokeExact(errno, (long) call, -1, effective, -1), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  /// Of the calling thread alone, whereas the function of the C library is for all threads.
  static long setgroups(long count, MemorySegment groups) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long) SETGROUPS.invokeExact(errno, (long) Constants.SYS_setgroups, count, groups),
          errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }

  static long capset(MemorySegment header, MemorySegment data) {
    MemorySegment errno = Scratch.mine().errno();
    try {
      return Errno.result(
          (long) CAPSET.invokeExact(errno, (long) Constants.SYS_capset, header, data), errno);
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
