package dev.hyperfresh.testkit;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import java.io.PrintStream;
import java.util.Locale;
import java.util.OptionalDouble;

/// A replacement drawn for a terminal: when each phase began, and whether the guest ran.
final class Timeline {
  private final PrintStream out;

  Timeline(PrintStream out) {
    this.out = out;
  }

  void draw(ReplacementRecord record, OptionalDouble tcpStallMs) {
    out.printf(
        "%n  %s: %s → %s on %s, %s%n",
        record.guest(), record.from(), record.to(), record.accelerator(), record.outcome().label());
    if (!record.committed()) {
      out.println("    " + record.problem() + " " + record.detail());
      return;
    }
    ReplacementRecord.Phases phases = record.phases();
    double blackout = record.blackoutMs().orElse(Double.NaN);
    double at = 0;
    row(at, "plan", "│ runs", "no obstacle known");
    at += phases.planMs();
    row(at, "prepare", "│ runs", record.to() + " starts and maps the guest's memory");
    at += phases.prepareMs();
    row(at, "hand over", "│ runs", "the order goes to " + record.from());
    at += phases.handOverMs();
    row(at, "STOP", "╎ paused", String.format(Locale.ROOT, "blackout %.2f ms", blackout));
    double sent = at + phases.saveMs().orElse(Double.NaN);
    if (!Double.isNaN(sent)) {
      row(sent, "sent", "╎ paused", record.from() + " has saved and sent the guest's state");
    }
    at += blackout;
    row(at, "RESUME", "│ runs", "committed: " + record.to() + " runs the guest");
    at += phases.retireMs();
    row(at, "retired", "│ runs", record.from() + " has ended");
    if (record.guestGapMs().isPresent()) {
      out.printf(
          Locale.ROOT,
          "    guest's own heartbeat stopped for %.2f ms (noise floor %.2f ms)%n",
          record.guestGapMs().getAsDouble(),
          record.noiseFloorMs().orElse(0));
    }
    tcpStallMs.ifPresent(
        stall -> out.printf(Locale.ROOT, "    longest wait of the TCP stream: %.2f ms%n", stall));
    out.printf(
        Locale.ROOT,
        "    RAM bytes copied: %s   state moved: %.0f KiB%n",
        record.ramBytesCopied().isPresent() ? record.ramBytesCopied().getAsLong() : "unknown",
        record.stateBytes() / 1024.0);
  }

  private void row(double atMs, String phase, String guest, String text) {
    out.printf(Locale.ROOT, "    %9.1f ms  %-10s %-9s  %s%n", atMs, phase, guest, text);
  }
}
