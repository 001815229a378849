package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/// One QEMU as the target of a hand-over, which can be stopped where it stands. As with
/// [dev.hyperfresh.hypervisor.Instance], which says what each call is for, one thread at a time
/// calls it.
final class QemuTarget {
  private static final int FREEZE_LOOKS = 2000;
  private static final long LOOK_NANOS = 1_000_000;

  private final String release;
  private final QemuProcess process;
  private final QemuChannel channel;
  private final QemuReports reports;
  private long readBefore;

  /// @param release whose QEMU it is
  QemuTarget(String release, QemuProcess process, QemuChannel channel, QemuReports reports) {
    this.release = release;
    this.process = process;
    this.channel = channel;
    this.reports = reports;
  }

  /// As [dev.hyperfresh.hypervisor.Instance#expect].
  void expect(Fd pipe) {
    expect(pipe, () -> channel.qmp().execute("migrate-set-capabilities", Migration.CAPABILITIES));
  }

  /// As [dev.hyperfresh.hypervisor.Instance#expectWithMemory].
  void expectWithMemory(Fd pipe) {
    expect(pipe, () -> PreCopy.ofTarget(channel.qmp()).apply(channel.qmp()));
  }

  private void expect(Fd pipe, Runnable settings) {
    Migration.prepare(
        release,
        () -> {
          String uri = process.incoming(pipe).orElseGet(() -> Migration.give(channel.qmp(), pipe));
          settings.run();
          reports.expectGuest();
          readBefore = process.bytesRead();
          channel.qmp().execute("migrate-incoming", Map.of("uri", uri));
        });
  }

  /// As [dev.hyperfresh.hypervisor.Instance#stateBytes].
  long stateBytes() {
    // A process that has ended meanwhile counts nothing any more. The channel is a pipe because the
    // kernel counts what is read from one, and not what is received from a socket.
    return Math.max(0, process.bytesRead() - readBefore);
  }

  /// As [dev.hyperfresh.hypervisor.Instance#freeze].
  void freeze() {
    try {
      process.stop();
    } catch (QemuProcess.TroubleException e) {
      if (!ended()) {
        throw notFrozen(e.getMessage());
      }
    }
    awaitStanding();
    if (!channel.hasHeardAll()) {
      throw notFrozen("some of its reports may be missing");
    }
  }

  private void awaitStanding() {
    try {
      for (int look = 0; !process.stands(); look++) {
        if (look == FREEZE_LOOKS) {
          throw notFrozen("one of its threads still runs");
        }
        LockSupport.parkNanos(LOOK_NANOS);
      }
    } catch (QemuProcess.TroubleException e) {
      throw notFrozen(e.getMessage());
    }
  }

  private HyperFreshException notFrozen(@Nullable String reason) {
    return Problem.REPLACE_SWITCH.because(named() + " could not be frozen: " + reason + ".");
  }

  /// As [dev.hyperfresh.hypervisor.Instance#thaw].
  void thaw() {
    try {
      process.goOn();
    } catch (QemuProcess.TroubleException e) {
      throw Problem.INTERNAL.because(named() + " cannot be thawed: " + e.getMessage(), e);
    }
  }

  /// As [dev.hyperfresh.hypervisor.Instance#condemn].
  void condemn() {
    try {
      process.condemn();
    } catch (QemuProcess.TroubleException e) {
      if (!ended()) {
        throw Problem.INTERNAL.because(named() + " cannot be killed: " + e.getMessage(), e);
      }
    }
  }

  private boolean ended() {
    return process.awaitEnd(Duration.ZERO);
  }

  private String named() {
    return release + " with pid " + process.pid();
  }
}
