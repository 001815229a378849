package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Clock;
import java.time.Duration;
import java.util.Map;
import java.util.function.Predicate;

/// The vCPUs of one QEMU: what they do, and how they are made to go on. As with
/// [dev.hyperfresh.hypervisor.Instance], one thread at a time calls it.
final class QemuVcpus {
  private static final String ANSWERING = "answering";

  private final String release;
  private final QemuProcess process;
  private final QemuChannel channel;
  private final QemuReports reports;

  /// @param release whose QEMU it is
  QemuVcpus(String release, QemuProcess process, QemuChannel channel, QemuReports reports) {
    this.release = release;
    this.process = process;
    this.channel = channel;
    this.reports = reports;
  }

  /// What they do now.
  ///
  /// @throws Qmp.QmpException when QEMU does not say
  RunState state() {
    RunState state = RunStates.ask(channel.qmp());
    reports.saw(state);
    return state;
  }

  /// Continues them unless the guest `stays` as it is. A migration that failed resumes the guest by
  /// itself, and until it has, QEMU refuses `cont`. So does one whose image is still locked by a
  /// target that is being killed.
  ///
  /// @throws Qmp.QmpException when they do not go on
  void goOn(Predicate<RunState> stays) {
    long deadline = Clock.monotonicNanos() + Migration.LIMIT.toNanos();
    while (true) {
      int seen = reports.count();
      RunState state = state();
      if (state.isLive() || stays.test(state)) {
        return;
      }
      boolean late = Clock.monotonicNanos() > deadline;
      try {
        channel.qmp().execute(Migration.LIMIT, "cont", Map.of());
      } catch (Qmp.QmpException e) {
        if (e.unanswered() || !channel.qmp().isOpen() || late) {
          throw e;
        }
        reports.awaitChange(seen);
        continue;
      }
      // A guest that can go on does so before `cont` is answered.
      if (late) {
        throw new Qmp.QmpException("it is still " + state().label());
      }
      reports.awaitChange(seen);
    }
  }

  /// Why they are not resumed. A process that lives still has the guest's state, whatever it says
  /// or does not say now; when it answers again, that is told.
  HyperFreshException standing(Qmp.QmpException e) {
    if (process.awaitEnd(Duration.ZERO)) {
      return Problem.REPLACE_LOST.because(
          "The source ended before it resumed the guest: " + e.getMessage(), e);
    }
    if (e.unanswered() && channel.qmp().isOpen()) {
      announceAnswer();
    }
    return Problem.REPLACE_STANDS.because(
        release
            + " with pid "
            + process.pid()
            + " does not resume the guest: "
            + e.getMessage()
            + ".",
        e);
  }

  /// The process reads this command when it reads again.
  private void announceAnswer() {
    try {
      Qmp qmp = channel.qmp();
      var _ = qmp.expectAnswer(ANSWERING).thenAccept(_ -> reports.answering());
      qmp.post("query-status", Qmp.encode("query-status", Map.of(), ANSWERING));
    } catch (Qmp.QmpException lost) {
      // When it is connected again, that is told.
      channel.note("query-status: " + lost.getMessage());
    }
  }
}
