package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.ProcessRights;
import java.io.IOException;
import java.util.OptionalLong;

/// A process that something else started, as it was when it was examined. It may end, and its
/// number come to mean another process; it may become another program or another user. So what was
/// decided by what it is, and what was read by its number, holds only as long as [#requireSame]
/// says so: ask right before anything is done by it.
///
/// @param held the process
/// @param start when it was started, as [Host#processStart] has it
/// @param rights with which it ran
/// @param ours whether it is the daemon's user and has all the daemon's rights, so that nothing is
///   gained by what the daemon does for it
public record FoundProcess(PidFd held, OptionalLong start, ProcessRights rights, boolean ours) {
  /// Its number.
  public int pid() {
    return held.pid();
  }

  /// @throws HyperFreshException [Problem#ADOPT_UNFIT] when it has ended, or is somebody else by
  ///   now
  public void requireSame() {
    if (!isSame()) {
      throw Problem.ADOPT_UNFIT.because(
          "Process " + pid() + " has ended, or has other rights than when it was examined.");
    }
  }

  private boolean isSame() {
    try {
      // Last of all: a process that has not ended by then had its number until then.
      return Host.processStart(pid()).equals(start)
          && ProcessRights.of(ProcFs.HOST, pid()).equals(rights)
          && !held.exited();
    } catch (IOException gone) {
      return false;
    }
  }
}
