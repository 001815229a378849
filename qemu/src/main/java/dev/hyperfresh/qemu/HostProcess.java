package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import java.time.Duration;
import java.util.Optional;

/// A process of QEMU: a child of this one, which has to be reaped, or one whose parent, an earlier
/// daemon, is gone. Thread-safe.
///
/// @param pidFd the process by descriptor, which this object owns
/// @param child the process as a child, if it is one
public record HostProcess(PidFd pidFd, Optional<ChildProcess> child) implements AutoCloseable {
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);

  /// A child of this process.
  public static HostProcess of(ChildProcess child) {
    return new HostProcess(child.pidFd(), Optional.of(child));
  }

  /// Takes over process `pid`.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when there is none
  public static HostProcess survivor(int pid) {
    return new HostProcess(PidFd.open(pid), Optional.empty());
  }

  /// The number of the process.
  public int pid() {
    return pidFd.pid();
  }

  /// Whether the process ends within `limit`; a child is reaped then.
  public boolean awaitEnd(Duration limit) {
    return child.isPresent() ? child.get().waitFor(limit).isPresent() : pidFd.awaitExit(limit);
  }

  /// Kills the process and waits until it is gone.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when it may not be killed
  /// @throws QemuProcess.TroubleException when it does not die
  public void kill() {
    if (awaitEnd(Duration.ZERO)) {
      return;
    }
    pidFd.signal(Signals.KILL);
    if (!awaitEnd(KILL_LIMIT)) {
      throw new QemuProcess.TroubleException("process " + pid() + " does not die");
    }
  }

  /// Lets go of the process, which goes on without this one. A child is still reaped when it ends:
  /// whoever ends it may wait for its number to be gone.
  void leave() {
    if (child.isEmpty()) {
      close();
      return;
    }
    Thread.ofPlatform()
        .name("hf-reap-" + pid())
        .daemon()
        .start(() -> {
          var _ = child.get().waitFor();
          close();
        });
  }

  /// Lets go of the process; it goes on if it lives.
  @Override
  public void close() {
    pidFd.close();
  }
}
