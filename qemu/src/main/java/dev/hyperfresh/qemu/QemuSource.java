package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import dev.hyperfresh.linux.Fd;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import tools.jackson.databind.JsonNode;

/// One QEMU as the source of a hand-over. As with [dev.hyperfresh.hypervisor.Instance], which says
/// what each call is for, one thread at a time calls it.
final class QemuSource {
  private static final String HAND_OVER = "hand-over";

  /// How long a copy of the memory may take to notice that its reader is gone: that closes the
  /// channel when it has given all memory back that it had mapped.
  private static final Duration COPY_END = Duration.ofSeconds(30);

  private final String release;
  private final QemuProcess process;
  private final QemuChannel channel;
  private final QemuReports reports;
  private final QemuVcpus vcpus;
  private final boolean copies;

  /// How long what is left of a hand-over may take to end.
  private final Duration endLimit;

  /// Encoded beforehand, so that the hand-over is one write.
  private byte[] command = new byte[0];

  /// What of its settings a copy of the memory has changed.
  private Optional<PreCopy> preCopy = Optional.empty();

  /// @param release whose QEMU it is
  /// @param copies whether it hands the guest over with its memory
  QemuSource(
      String release,
      QemuProcess process,
      QemuChannel channel,
      QemuReports reports,
      QemuVcpus vcpus,
      boolean copies) {
    this.release = release;
    this.process = process;
    this.channel = channel;
    this.reports = reports;
    this.vcpus = vcpus;
    this.copies = copies;
    this.endLimit = copies ? COPY_END : Migration.LIMIT;
  }

  /// As [dev.hyperfresh.hypervisor.Instance#connect].
  void connect(Fd pipe) {
    connect(
        pipe,
        () -> {
          channel.qmp().execute("migrate-set-capabilities", Migration.CAPABILITIES);
          channel.qmp().execute("migrate-set-parameters", Migration.PARAMETERS);
        });
  }

  /// As [dev.hyperfresh.hypervisor.Instance#connectWithMemory].
  void connectWithMemory(Fd pipe, Duration maxDowntime) {
    connect(
        pipe,
        () -> {
          PreCopy next = PreCopy.ofSource(channel.qmp(), maxDowntime);
          preCopy = Optional.of(next);
          next.apply(channel.qmp());
        });
  }

  private void connect(Fd pipe, Runnable settings) {
    Migration.prepare(
        release,
        () -> {
          reports.becomeSource();
          String uri = process.outgoing(pipe).orElseGet(() -> Migration.give(channel.qmp(), pipe));
          command = Qmp.encode("migrate", Map.of("uri", uri), HAND_OVER);
          settings.run();
          Qmp current = channel.qmp();
          var _ =
              current
                  .expectAnswer(HAND_OVER)
                  .whenComplete((_, refusal) -> {
                    // A channel that was lost refuses everything and tells nothing.
                    if (refusal != null && current.isOpen()) {
                      reports.failed(String.valueOf(refusal.getMessage()));
                    }
                  });
        });
  }

  /// As [dev.hyperfresh.hypervisor.Instance#handOver].
  void handOver() {
    try {
      channel.qmp().post("migrate", command);
    } catch (Qmp.QmpException e) {
      throw Problem.REPLACE_SWITCH.because(release + ": " + e.getMessage(), e);
    }
  }

  /// As [dev.hyperfresh.hypervisor.Instance#copied].
  MemoryCopy.Status copied() {
    try {
      return PreCopy.status(channel.qmp());
    } catch (Qmp.QmpException e) {
      throw Problem.GUEST_STATE.because(release + ": " + e.getMessage(), e);
    }
  }

  /// As [dev.hyperfresh.hypervisor.Instance#takeBack].
  void takeBack() {
    end(() -> vcpus.goOn(this::stays));
  }

  /// The stop of a copy has a name of its own: whoever paused a guest that is copied wants it to
  /// stay so, also one who did so while no daemon was there to hear it.
  private boolean stays(RunState state) {
    return state.afterRollBack() == RunState.AfterRollBack.AS_IT_IS
        || (copies && state == RunState.PAUSED);
  }

  /// As [dev.hyperfresh.hypervisor.Instance#withdraw].
  void withdraw() {
    end(() -> {});
  }

  private void end(Runnable goOn) {
    try {
      awaitHandOverOver();
      goOn.run();
    } catch (Qmp.QmpException e) {
      throw vcpus.standing(e);
    }
    try {
      Migration.forget(channel.qmp());
    } catch (Qmp.QmpException e) {
      // The hand-over has closed it if it came that far.
      channel.note("closefd: " + e.getMessage());
    }
    undoPreCopy();
  }

  private void undoPreCopy() {
    try {
      preCopy.ifPresent(changed -> changed.undo(channel.qmp()));
      preCopy = Optional.empty();
    } catch (Qmp.QmpException e) {
      channel.note("setting back: " + e.getMessage());
    }
  }

  /// A hand-over under way would stop the guest a moment later, so its end is awaited, also while
  /// the guest runs. It ends by itself: its reader is dead or dying, and the channel holds all of
  /// the state or, of a copy of the memory, takes no more. It may be too busy to answer at once,
  /// and has as long for that. It is not cancelled, because a QEMU 7.2 whose migration is cancelled
  /// while it gives its disks away resumes the guest without having them back, and aborts at the
  /// guest's next write.
  private void awaitHandOverOver() {
    if (Migration.UNDER_WAY.contains(Migration.status(channel.qmp(), endLimit))) {
      try {
        if (!reports.awaitHandOverOver(endLimit)) {
          throw new Qmp.QmpException("the hand-over did not end");
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new Qmp.QmpException("interrupted before the hand-over ended");
      }
    }
  }

  /// As [dev.hyperfresh.hypervisor.Instance#ramBytesCopied], of a guest none of whose memories has
  /// less than `least` bytes.
  OptionalLong ramBytesCopied(long least) {
    JsonNode ram;
    try {
      ram = channel.qmp().execute("query-migrate", Map.of()).path("ram");
    } catch (Qmp.QmpException e) {
      channel.note("query-migrate: " + e.getMessage());
      return OptionalLong.empty();
    }
    // QEMU's `total` counts every RAM block that the migration considered. Each of the guest's
    // memories is one block, so a total that is smaller than any of them says that all were left
    // out, and what `normal-bytes` counts are firmware images.
    boolean ramLeftOut = ram.path("total").asLong(Long.MAX_VALUE) < least;
    return OptionalLong.of(ramLeftOut ? 0 : ram.path("normal-bytes").asLong(0));
  }
}
