package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.SchedParam;
import java.lang.foreign.MemorySegment;

/// How the kernel schedules single threads, of this process or of another. All methods may be
/// called by any thread, and once compiled they allocate nothing.
public final class Scheduling {
  private static final int LOWEST_PRIORITY = 1;
  private static final int HIGHEST_PRIORITY = 99;

  private Scheduling() {}

  /// The kernel's number of the calling platform thread (`gettid`).
  public static int currentThreadId() {
    return ThreadCalls.gettid();
  }

  /// Puts a thread before all ordinary ones (`SCHED_FIFO`). A thread that never sleeps then keeps a
  /// core to itself, so give the priority back soon with [#normal]. Threads that it starts in the
  /// meantime are ordinary ones (`SCHED_RESET_ON_FORK`).
  ///
  /// @param tid the kernel's number of the thread
  /// @param priority 1, the lowest, to 99
  /// @return false when this process may not (`EPERM`) or there is no such thread (`ESRCH`)
  public static boolean realTime(int tid, int priority) {
    if (priority < LOWEST_PRIORITY || priority > HIGHEST_PRIORITY) {
      throw new IllegalArgumentException("a priority is 1 to 99, not " + priority);
    }
    return set(tid, Constants.SCHED_FIFO | Constants.SCHED_RESET_ON_FORK, priority);
  }

  /// As [#realTime], and for the threads too that it starts from now on.
  ///
  /// @param tid the kernel's number of the thread
  /// @param priority 1, the lowest, to 99
  /// @return false when this process may not (`EPERM`) or there is no such thread (`ESRCH`)
  public static boolean realTimeInherited(int tid, int priority) {
    if (priority < LOWEST_PRIORITY || priority > HIGHEST_PRIORITY) {
      throw new IllegalArgumentException("a priority is 1 to 99, not " + priority);
    }
    return set(tid, Constants.SCHED_FIFO, priority);
  }

  /// Makes a thread an ordinary one again (`SCHED_OTHER`).
  ///
  /// @param tid the kernel's number of the thread
  /// @return false when this process may not (`EPERM`) or there is no such thread (`ESRCH`)
  public static boolean normal(int tid) {
    return set(tid, Constants.SCHED_OTHER, 0);
  }

  /// How late the kernel may wake the calling platform thread to save power (`PR_SET_TIMERSLACK`).
  ///
  /// @param nanos more than 0; 0 brings the default of the process back, usually 50 000
  public static void timerSlack(long nanos) {
    if (nanos < 0) {
      throw new IllegalArgumentException("a timer slack cannot be negative: " + nanos);
    }
    check(
        ThreadCalls.prctl(Constants.PR_SET_TIMERSLACK, nanos), "prctl PR_SET_TIMERSLACK", "thread");
  }

  private static boolean set(int tid, int policy, int priority) {
    // The kernel takes 0 for the caller, which is never what a caller with a number meant.
    if (tid <= 0) {
      throw new IllegalArgumentException("a thread number is above 0, not " + tid);
    }
    MemorySegment parameters = Scratch.mine().arguments();
    SchedParam.sched_priority.set(parameters, priority);
    int done = ThreadCalls.schedSetscheduler(tid, policy, parameters);
    if (done == -Constants.EPERM || done == -Constants.ESRCH) {
      return false;
    }
    // No concatenation unless it failed: this runs inside a blackout.
    return done >= 0 || refused(done, tid);
  }

  private static boolean refused(int result, int tid) {
    throw new LinuxException("sched_setscheduler", "thread " + tid, -result);
  }
}
