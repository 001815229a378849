package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Aftermath;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Clocks;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Outcome;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Phases;
import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/// What one replacement takes, and the record that is made of it. Figures are noted as they become
/// known, none of them inside the blackout. For the guest's thread.
///
/// - Phases of our own work (plan, prepare, roll back, retire, total) are milliseconds by
///   [Surroundings#nanos].
/// - The hand-over, the blackout and its two parts are differences of the times in [Reports], which
///   are microseconds and were taken where things happened, not where they were heard of.
/// - What the guest's clocks lost is the difference of what both hypervisors noted of it.
/// - The gap and the noise floor are what [Pulse.Watch] saw in the guest's memory.
/// - Bytes and page faults are what the hypervisors and the kernel counted.
final class Measurement {
  /// Between a report of the hypervisor and its note of the same; they are some lines of code
  /// apart.
  private static final long NOTED_MICROS = 1_000_000;

  private final Parties parties;
  private final Instant startedAt = Instant.now();
  private final long start;
  private double planMs;
  private double prepareMs;
  private OptionalDouble rollBackMs = OptionalDouble.empty();
  private OptionalDouble clockLostMs = OptionalDouble.of(0);

  /// What was found and done after the commit.
  ///
  /// @param ramBytesCopied as in [ReplacementRecord]
  /// @param stateBytes as in [ReplacementRecord]
  /// @param retireMs as in [Phases]
  /// @param amiss what the target did not get of the source, in sentences, or empty
  record AfterCommit(
      OptionalLong ramBytesCopied,
      long stateBytes,
      double retireMs,
      Aftermath aftermath,
      String amiss) {
    /// There was no commit, and so nothing was copied.
    private static final AfterCommit NONE =
        new AfterCommit(OptionalLong.of(0), 0, 0, Aftermath.UNKNOWN, "");

    /// A fault came in between.
    static AfterCommit unknown(String amiss) {
      return new AfterCommit(OptionalLong.empty(), 0, 0, Aftermath.UNKNOWN, amiss);
    }
  }

  /// The switch as both sides reported it and as the guest's memory showed it, milliseconds.
  private record Blackout(
      OptionalDouble blackoutMs,
      OptionalDouble gapMs,
      OptionalDouble floorMs,
      boolean wentBack,
      double handOverMs,
      OptionalDouble saveMs,
      OptionalDouble loadMs) {
    /// There was none, or it does not count.
    static final Blackout NONE =
        new Blackout(
            OptionalDouble.empty(),
            OptionalDouble.empty(),
            OptionalDouble.empty(),
            false,
            0,
            OptionalDouble.empty(),
            OptionalDouble.empty());

    static Blackout of(Reports reports, OptionalLong resumedMicros, Optional<Pulse.Watch> watch) {
      OptionalLong stopped = reports.stoppedMicros();
      OptionalLong sent = sent(reports, resumedMicros);
      return new Blackout(
          between(stopped, resumedMicros),
          watch.map(w -> OptionalDouble.of(w.gapNanos() / 1e6)).orElse(OptionalDouble.empty()),
          watch.map(w -> OptionalDouble.of(w.floorNanos() / 1e6)).orElse(OptionalDouble.empty()),
          watch.map(Pulse.Watch::wentBack).orElse(false),
          between(OptionalLong.of(reports.orderedMicros()), stopped).orElse(0),
          between(stopped, sent),
          between(sent, resumedMicros));
    }

    /// When the source had sent everything, which divides the blackout. The clocks of two machines
    /// agree only so far, so that it may seem to have come outside of it.
    private static OptionalLong sent(Reports reports, OptionalLong resumedMicros) {
      if (reports.stoppedMicros().isEmpty()
          || reports.sentMicros().isEmpty()
          || resumedMicros.isEmpty()) {
        return OptionalLong.empty();
      }
      long stopped = reports.stoppedMicros().getAsLong();
      return OptionalLong.of(
          Math.clamp(
              reports.sentMicros().getAsLong(),
              stopped,
              Math.max(stopped, resumedMicros.getAsLong())));
    }

    private static OptionalDouble between(OptionalLong fromMicros, OptionalLong untilMicros) {
      return fromMicros.isPresent() && untilMicros.isPresent()
          ? OptionalDouble.of((untilMicros.getAsLong() - fromMicros.getAsLong()) / 1e3)
          : OptionalDouble.empty();
    }
  }

  /// @param start when the replacement was asked for, by [Surroundings#nanos]
  Measurement(Parties parties, long start) {
    this.parties = parties;
    this.start = start;
  }

  /// The plan is made.
  void planned() {
    planMs = parties.millisSince(start);
  }

  /// The target is prepared.
  void prepared(long begin) {
    prepareMs = parties.millisSince(begin);
  }

  /// The guest is where it was again, or stands there.
  ///
  /// @param decided when the switch was given up
  void undone(long decided) {
    rollBackMs = OptionalDouble.of(parties.millisSince(decided));
  }

  /// The guest's clocks stood until they went on in `now`, unless they still stand. They stop a
  /// moment before the source reports STOP, and go on a moment after RESUME was reported; where the
  /// hypervisors noted these moments, they count. The guest is told of it.
  void clocksStood(Instance now, OptionalLong stoppedMicros, OptionalLong resumedMicros) {
    OptionalLong from =
        near(
            stoppedMicros,
            Contained.get(
                "asking when the clocks of " + parties.id() + " stopped",
                parties.source()::clocksStoppedMicros,
                OptionalLong.empty()));
    OptionalLong until =
        near(
            resumedMicros,
            Contained.get(
                "asking when the clocks of " + parties.id() + " continued",
                now::clocksStartedMicros,
                OptionalLong.empty()));
    clockLostMs =
        from.isPresent() && until.isPresent()
            ? OptionalDouble.of(Math.max(0, until.getAsLong() - from.getAsLong()) / 1e3)
            : OptionalDouble.empty();
    parties.guest().stood(from, until);
  }

  /// What was noted, unless it was of another stop than the one reported.
  private static OptionalLong near(OptionalLong reported, OptionalLong noted) {
    return reported.isPresent()
            && noted.isPresent()
            && Math.abs(noted.getAsLong() - reported.getAsLong()) < NOTED_MICROS
        ? noted
        : reported;
  }

  /// The record of a guest that was moved.
  ReplacementRecord committed(Committed committed, Optional<Pulse.Watch> watch, AfterCommit after) {
    return record(
        Blackout.of(committed.reports(), committed.resumedMicros(), watch),
        after,
        Clocks.lost(clockLostMs),
        Outcome.COMMITTED,
        "",
        after.amiss());
  }

  /// The record of a guest that has its old hypervisor.
  ReplacementRecord rolledBack(HyperFreshException reason) {
    return unsuccessful(Outcome.ROLLED_BACK, Clocks.lost(clockLostMs), reason);
  }

  /// The record of a guest that is lost.
  ReplacementRecord failed(HyperFreshException reason) {
    return unsuccessful(Outcome.FAILED, Clocks.UNKNOWN, reason);
  }

  private ReplacementRecord unsuccessful(
      Outcome outcome, Clocks clocks, HyperFreshException reason) {
    return record(
        Blackout.NONE, AfterCommit.NONE, clocks, outcome, reason.problem().code(), reason.detail());
  }

  private ReplacementRecord record(
      Blackout blackout,
      AfterCommit after,
      Clocks clocks,
      Outcome outcome,
      String problem,
      String detail) {
    Movable guest = parties.guest();
    return new ReplacementRecord(
        parties.id(),
        guest.spec().name(),
        parties.to().kind(),
        parties.source().release().name(),
        parties.to().name(),
        guest.accelerator().accelerator().label(),
        startedAt,
        blackout.blackoutMs(),
        blackout.gapMs(),
        blackout.floorMs(),
        blackout.wentBack(),
        after.aftermath(),
        after.ramBytesCopied(),
        after.stateBytes(),
        new Phases(
            planMs,
            prepareMs,
            blackout.handOverMs(),
            blackout.saveMs(),
            blackout.loadMs(),
            rollBackMs,
            after.retireMs()),
        parties.millisSince(start),
        outcome,
        problem,
        detail,
        new ReplacementRecord.Parts(parties.source().release().parts(), parties.to().parts()),
        clocks);
  }
}
