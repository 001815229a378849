package dev.hyperfresh.linux;

/// A process of this host that is meant for ever, since numbers are used again. Immutable.
///
/// @param pid its number; 0 when there is none yet
/// @param start as [Host#processStart] has it
/// @param boot as [Host#bootId] has it: process numbers and start times begin anew with each
public record ProcessIdentity(int pid, long start, String boot) {
  /// No process.
  public static final ProcessIdentity NONE = new ProcessIdentity(0, 0, "");

  /// The process that has the number now.
  public static ProcessIdentity of(int pid) {
    return new ProcessIdentity(pid, Host.processStart(pid).orElse(0), Host.bootId());
  }

  /// Whether the host has booted since, and nothing is left of it.
  public boolean endedWithHost() {
    return !boot.isEmpty() && !boot.equals(Host.bootId());
  }

  /// Whether this very process still runs.
  public boolean lives() {
    if (pid <= 0 || !boot.equals(Host.bootId()) || Host.processStart(pid).orElse(-1) != start) {
      return false;
    }
    try (PidFd process = PidFd.open(pid)) {
      return !process.exited();
    } catch (LinuxException gone) {
      return false;
    }
  }
}
