package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import java.time.Duration;

/// A process held by a descriptor: what is done by this object is done to that process alone. Its
/// number is not held: when the process has ended, it may come to mean another one. What was read
/// by the number is of this process if [#exited] says afterwards that it has not ended. All methods
/// may be called by any thread.
public final class PidFd implements AutoCloseable {
  private final int pid;
  private final Fd fd;

  private PidFd(int pid, Fd fd) {
    this.pid = pid;
    this.fd = fd;
  }

  /// Takes hold of a process.
  ///
  /// @throws LinuxException with `ESRCH` when there is no such process
  public static PidFd open(int pid) {
    String label = "process " + pid;
    return new PidFd(pid, Fd.adopt(check(PidCalls.pidfdOpen(pid), "pidfd_open", label), label));
  }

  /// Copies a descriptor out of the process (`pidfd_getfd`). Needs the right to trace it.
  ///
  /// @param numberThere the number that the descriptor has in that process
  /// @throws LinuxException with `EBADF` when it has no such number, `EPERM` without the right,
  ///   `ESRCH` when it has ended
  public Fd takeFd(int numberThere) {
    String label = "descriptor " + numberThere + " of " + fd.label();
    int held = fd.acquire();
    try {
      return Fd.adopt(check(PidCalls.pidfdGetfd(held, numberThere), "pidfd_getfd", label), label);
    } finally {
      fd.release();
    }
  }

  /// Sends a signal.
  ///
  /// @param signal one of [Signals]
  /// @throws LinuxException with `ESRCH` when the process has ended and been reaped
  public void signal(int signal) {
    check(trySignal(signal), "pidfd_send_signal " + signal, fd.label());
  }

  /// Like [#signal], but answers `-errno`.
  int trySignal(int signal) {
    int held = fd.acquire();
    try {
      return PidCalls.pidfdSendSignal(held, signal);
    } finally {
      fd.release();
    }
  }

  /// Whether the process has ended, reaped or not.
  public boolean exited() {
    return fd.pollReadable(0);
  }

  /// Waits for the end of the process, without reaping it.
  ///
  /// @return whether it has ended in time
  public boolean awaitExit(Duration timeout) {
    return fd.pollReadable(timeout);
  }

  /// The number of the process.
  public int pid() {
    return pid;
  }

  /// Lets go of the process, which runs on.
  @Override
  public void close() {
    fd.close();
  }

  /// The descriptor itself.
  Fd fd() {
    return fd;
  }
}
