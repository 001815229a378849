package dev.hyperfresh.linux;

/// Numbers of signals, for [PidFd#signal]. Source: `signal.h`.
public final class Signals {
  /// Tests whether the process is there, and sends nothing.
  public static final int NONE = 0;

  /// The terminal is gone (`SIGHUP`).
  public static final int HUP = Constants.SIGHUP;

  /// The user asks to stop (`SIGINT`).
  public static final int INT = Constants.SIGINT;

  /// The user asks for a core file (`SIGQUIT`).
  public static final int QUIT = Constants.SIGQUIT;

  /// The process gave itself up (`SIGABRT`).
  public static final int ABRT = Constants.SIGABRT;

  /// Ends the process; cannot be caught (`SIGKILL`).
  public static final int KILL = Constants.SIGKILL;

  /// Free for the program (`SIGUSR1`).
  public static final int USR1 = Constants.SIGUSR1;

  /// The process touched memory that is not its own (`SIGSEGV`).
  public static final int SEGV = Constants.SIGSEGV;

  /// Free for the program (`SIGUSR2`).
  public static final int USR2 = Constants.SIGUSR2;

  /// Asks the process to end (`SIGTERM`).
  public static final int TERM = Constants.SIGTERM;

  /// Continues a stopped process (`SIGCONT`).
  public static final int CONT = Constants.SIGCONT;

  /// Stops the process; cannot be caught (`SIGSTOP`).
  public static final int STOP = Constants.SIGSTOP;

  private Signals() {}
}
