package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.SchedParam;
import java.lang.foreign.MemorySegment;
import java.util.regex.Pattern;

/// How the kernel schedules single threads, of this process or of another. All methods may be
/// called by any thread, and once compiled they allocate nothing.
public final class Scheduling {
  /// The nice value of what is done for a guest while it runs and that nothing waits for in
  /// earnest: a tenth of what a guest gets of a core that both want.
  public static final int BEHIND_GUESTS = 10;

  private static final int LOWEST_PRIORITY = 1;
  private static final int HIGHEST_PRIORITY = 99;

  /// As HotSpot names them.
  private static final Pattern COMPILER = Pattern.compile("C[12] Compiler");

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

  /// Gives an ordinary thread a nice value, which what it starts from now on has too.
  ///
  /// @param tid the kernel's number of the thread; that of a process is the one of its main thread
  /// @param nice -20, the first, to 19, the last
  /// @return false when this process may not (`EPERM`, `EACCES`) or there is no such thread
  ///   (`ESRCH`)
  public static boolean nice(int tid, int nice) {
    if (tid <= 0) {
      throw new IllegalArgumentException("a thread number is above 0, not " + tid);
    }
    int done = ThreadCalls.setpriority(Constants.PRIO_PROCESS, tid, nice);
    if (done == -Constants.EPERM || done == -Constants.EACCES || done == -Constants.ESRCH) {
      return false;
    }
    check(done, "setpriority", "thread " + tid);
    return true;
  }

  /// Gives the threads of this process that translate Java's code a nice value: what they do is
  /// worth nothing to a guest that waits for a core.
  ///
  /// @param nice 0 to 19, the last
  public static void niceCompilers(int nice) {
    int self = (int) ProcessHandle.current().pid();
    for (int thread : ProcessThreads.of(self)) {
      if (COMPILER.matcher(ProcessThreads.name(self, thread)).lookingAt()) {
        nice(thread, nice);
      }
    }
  }

  /// Makes every thread of a process an ordinary one that has the real-time priority `priority`
  /// now, also those that such threads start meanwhile. Others keep theirs.
  ///
  /// @param priority 1, the lowest, to 99
  public static void giveBack(int pid, int priority) {
    ProcessThreads.forEach(
        pid,
        thread -> {
          boolean raised =
              CpuPriority.ofThread(pid, thread)
                  .filter(now -> now.policy() == Constants.SCHED_FIFO && now.realTime() == priority)
                  .isPresent();
          if (raised) {
            normal(thread);
          }
        });
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

  static boolean set(int tid, int policy, int priority) {
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
    throw LinuxException.of("sched_setscheduler", "thread " + tid, -result);
  }
}
