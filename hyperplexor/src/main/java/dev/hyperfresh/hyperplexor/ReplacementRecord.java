package dev.hyperfresh.hyperplexor;

import java.time.Instant;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/// A replacement that is over, with all that was measured.
///
/// @param id unique among the replacements of a state directory
/// @param kind the kind of hypervisor, `process` or `machine`
/// @param accelerator `kvm` or `tcg`: figures of one say nothing about the other
/// @param blackoutMs from the source's STOP to the target's RESUME, by the hypervisors' own clocks
/// @param guestGapMs the longest time in which the guest's heartbeat stood still, as seen in its
///   memory; empty when the guest carries no heartbeat
/// @param noiseFloorMs the longest such gap while nothing was being done
/// @param aftermath how the guest did right after the switch
/// @param ramBytesCopied bytes of guest RAM that were copied: 0, or something is wrong, unless the
///   replacement copied memory that was private to a process that was adopted; empty when the
///   source could not be asked any more
/// @param stateBytes bytes that crossed between the hypervisors
/// @param phases how long each phase took, milliseconds
/// @param totalMs from the request to the end of the source
/// @param outcome how it ended
/// @param problem the catalogue's code when it was not committed, else empty
/// @param detail what happened when it was not committed, else what is amiss all the same, or empty
/// @param parts what both sides are made of
/// @param clocks what became of the guest's clocks
public record ReplacementRecord(
    String id,
    String guest,
    String kind,
    String from,
    String to,
    String accelerator,
    Instant startedAt,
    OptionalDouble blackoutMs,
    OptionalDouble guestGapMs,
    OptionalDouble noiseFloorMs,
    boolean heartbeatWentBack,
    Aftermath aftermath,
    OptionalLong ramBytesCopied,
    long stateBytes,
    Phases phases,
    double totalMs,
    Outcome outcome,
    String problem,
    String detail,
    Parts parts,
    Clocks clocks) {

  /// How a replacement ends.
  public enum Outcome {
    /// The guest runs on its new hypervisor.
    COMMITTED,
    /// The guest has its old hypervisor: it runs, or stands until it may go on.
    ROLLED_BACK,
    /// Neither has the guest any more.
    FAILED;

    /// The word in the API, the history, events and metrics: lower case, with hyphens.
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /// The guest's clocks over a replacement. `docs/TIME.md` says which they are.
  ///
  /// @param lostMs how long the guest's clocks stood: from when the source stopped them, a moment
  ///   before STOP, until they went on, a moment after RESUME, in the target or, after a roll-back,
  ///   in the source; empty when one of the two is not known
  /// @param steppedMs how far the guest's agent then put the wall clock forward; empty when it was
  ///   not asked to, or did not
  /// @param remark why the wall clock was not set although that was asked for, or how well; or
  ///   empty
  public record Clocks(OptionalDouble lostMs, OptionalDouble steppedMs, String remark) {
    static final Clocks UNKNOWN = lost(OptionalDouble.empty());

    static Clocks lost(OptionalDouble millis) {
      return new Clocks(millis, OptionalDouble.empty(), "");
    }
  }

  /// What the source and the target are made of, as [dev.hyperfresh.hypervisor.Release#parts].
  public record Parts(Map<String, String> from, Map<String, String> to) {
    static final Parts UNKNOWN = new Parts(Map.of(), Map.of());

    public Parts {
      from = Map.copyOf(from);
      to = Map.copyOf(to);
    }
  }

  /// Milliseconds of each phase; 0 for one that was not reached.
  ///
  /// @param prepareMs starting the target, opening the channel: the guest runs
  /// @param handOverMs from the order to hand over until the guest stopped: the guest runs
  /// @param saveMs from STOP until the source had sent all of the guest's state; empty when one of
  ///   the two was not reported
  /// @param loadMs from then to RESUME: what was still on its way, and the target's loading. The
  ///   sum of both is the blackout.
  /// @param rollBackMs from the decision to give the switch up until the guest runs on the source
  ///   again; empty when no order to hand over was out
  /// @param retireMs ending the source: the guest runs
  public record Phases(
      double planMs,
      double prepareMs,
      double handOverMs,
      OptionalDouble saveMs,
      OptionalDouble loadMs,
      OptionalDouble rollBackMs,
      double retireMs) {}

  /// The second after the switch, in which the new hypervisor's page tables and translated code are
  /// cold.
  ///
  /// @param slowdownPercent how many beats fewer a second the guest made than before the switch, in
  ///   percent of those before; below 0 when it made more, empty without a heartbeat
  /// @param pageFaults of the new hypervisor, empty when they could not be counted
  public record Aftermath(OptionalDouble slowdownPercent, OptionalLong pageFaults) {
    static final Aftermath UNKNOWN = new Aftermath(OptionalDouble.empty(), OptionalLong.empty());
  }

  /// The same, with what became of the clocks after the replacement.
  ReplacementRecord with(Clocks clocksNow) {
    return new ReplacementRecord(
        id,
        guest,
        kind,
        from,
        to,
        accelerator,
        startedAt,
        blackoutMs,
        guestGapMs,
        noiseFloorMs,
        heartbeatWentBack,
        aftermath,
        ramBytesCopied,
        stateBytes,
        phases,
        totalMs,
        outcome,
        problem,
        detail,
        parts,
        clocksNow);
  }

  /// Whether the guest runs on the new release.
  public boolean committed() {
    return outcome == Outcome.COMMITTED;
  }
}
