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
/// @param servant another child, which serves this process alone and ends with it, if there is one
public record HostProcess(PidFd pidFd, Optional<ChildProcess> child, Optional<ChildProcess> servant)
    implements AutoCloseable {
  private static final Duration KILL_LIMIT = Duration.ofSeconds(30);
  private static final Duration SERVANT_LIMIT = Duration.ofSeconds(5);

  /// A child of this process.
  public static HostProcess of(ChildProcess child) {
    return new HostProcess(child.pidFd(), Optional.of(child), Optional.empty());
  }

  /// The same, which then owns what serves it, too.
  HostProcess servedBy(Optional<ChildProcess> other) {
    return new HostProcess(pidFd, child, other);
  }

  /// Takes over process `pid`.
  ///
  /// @throws dev.hyperfresh.linux.LinuxException when there is none
  public static HostProcess survivor(int pid) {
    return new HostProcess(PidFd.open(pid), Optional.empty(), Optional.empty());
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

  /// Lets go of the process; it goes on if it lives, and so does what serves it.
  @Override
  public void close() {
    servant.ifPresent(this::release);
    pidFd.close();
  }

  private void release(ChildProcess serving) {
    if (awaitEnd(Duration.ZERO) && serving.waitFor(SERVANT_LIMIT).isEmpty()) {
      serving.kill();
      var _ = serving.waitFor();
    }
    serving.close();
  }
}
