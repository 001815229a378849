package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;

/// The guest `mine`, which a test started by hand: its adoption, its moves, and the next daemon.
final class Adopted {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final Duration BLACKOUT = Duration.ofSeconds(10);

  private Adopted() {}

  static GuestView adopt(Hyperplexor hyperplexor, OwnQemu own) {
    return hyperplexor.adopt(
        "mine",
        own.pid(),
        own.qmp(),
        Optional.empty(),
        Workshop.RELEASES::ofProcess,
        Progress.NONE);
  }

  /// As the next daemon does.
  ///
  /// @return what it says, and the outcomes of replacements that it ended
  static List<String> takeBack(Hyperplexor hyperplexor) {
    List<String> told = new CopyOnWriteArrayList<>();
    hyperplexor.takeBack(
        Workshop.RELEASES::get,
        Map.of(),
        PATIENCE,
        told::add,
        record -> told.add(record.outcome().label()));
    return told;
  }

  /// Moves it, with none of its memory copied.
  ///
  /// @param amiss a part of what the record says; empty when it is to say nothing
  static void moved(Hyperplexor hyperplexor, QemuRelease to, Progress progress, String amiss) {
    ReplacementRecord record = hyperplexor.replace("mine", to, BLACKOUT, progress);
    assertThat(record.outcome()).as(record.detail()).isEqualTo(Outcome.COMMITTED);
    assertThat(record.ramBytesCopied()).hasValue(0);
    assertThat(record.detail()).contains(amiss);
    assertThat(record.detail().isEmpty()).as(record.detail()).isEqualTo(amiss.isEmpty());
    System.out.printf(
        Locale.ROOT,
        "  to %s: blackout %.2f ms, %d bytes of state%n",
        to.name(),
        record.blackoutMs().orElse(-1),
        record.stateBytes());
  }

  /// Does `what` when a replacement enters a state for the first time.
  static Progress at(String state, Runnable what) {
    List<String> seen = new ArrayList<>();
    return (name, _) -> {
      if (name.equals(state) && !seen.contains(name)) {
        seen.add(name);
        what.run();
      }
    };
  }

  /// Kills the instance that waits for a guest.
  ///
  /// @param source which has the guest, and has perhaps waited for it, too
  static void killTarget(int source) {
    assertThat(
            ProcessHandle.current()
                .children()
                .filter(child -> child.pid() != source)
                .filter(child -> commandLine(child.pid()).contains("\0-incoming\0"))
                .map(ProcessHandle::destroyForcibly))
        .containsExactly(true);
  }

  private static String commandLine(long pid) {
    try {
      return Files.readString(Path.of("/proc", Long.toString(pid), "cmdline"));
    } catch (IOException e) {
      // It has ended since it was listed.
      return "";
    }
  }
}
