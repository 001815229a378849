package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import java.util.Locale;

/// What a demonstration breaks on purpose, to show that a loss is told.
enum Injection {
  /// Nothing.
  NONE,
  /// The new hypervisor is killed when a guest has been moved to it.
  KILL_TARGET_AFTER_COMMIT;

  /// Kills a process and does not wait for its end.
  static void kill(int pid) {
    try (PidFd process = PidFd.open(pid)) {
      process.signal(Signals.KILL);
    }
  }

  /// As it is given on a command line.
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
