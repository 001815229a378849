package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.Measurement.AfterCommit;
import dev.hyperfresh.hyperplexor.ReplacementRecord.Aftermath;
import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Retired;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;

/// The end of a source whose guest runs on the target, and the collection of what is known only
/// then. For the guest's thread.
final class Retirement {
  private static final long STOP_REPORT_NANOS = 1_000_000_000;

  private final Parties parties;
  private final Held held;
  private final Measurement measured;
  private final Movable guest;
  private final Instance source;

  /// The source, when it could not be ended.
  private Optional<Instance> undead = Optional.empty();

  Retirement(Parties parties, Held held, Measurement measured) {
    this.parties = parties;
    this.held = held;
    this.measured = measured;
    this.guest = parties.guest();
    this.source = parties.source();
  }

  /// The guest runs on the target. Ends the source and collects the figures; nothing of that can
  /// change where the guest runs, so no step of it keeps the next from being done.
  Retired retire(Committed committed) {
    String id = parties.id();
    Instance now = committed.target();
    Reports reports = committed.reports();
    guest.adopt(now);
    steer();
    // Others need not wait until the processes, which may have many threads, have their old
    // priority.
    held.leaveGate();
    held.lowerPriority();
    long resumed = parties.world().nanos();
    OptionalLong faults = faults(now);
    long beats = held.watch().map(Pulse.Watch::beats).orElse(0L);
    long stateBytes = Contained.get("counting the state of " + id, now::stateBytes, 0L);
    Contained.run("writing the commit of " + id, () -> parties.write(committed));
    awaitStopped(reports);
    measured.clocksStood(now, reports.stoppedMicros(), committed.resumedMicros());
    // Whoever runs the guest and what its clocks have lost by that are written down at once.
    Contained.run("recording " + guest.spec().name(), () -> guest.writeDown(Optional.empty()));
    parties.progress().step("Committed", "the guest runs on " + parties.to().name());
    long begin = parties.world().nanos();
    OptionalLong ramBytesCopied =
        Contained.get("asking the source of " + id, source::ramBytesCopied, OptionalLong.empty());
    String amiss = endSource(now);
    double retireMs = parties.millisSince(begin);
    Aftermath aftermath = aftermath(now, resumed, faults, beats);
    return retired(
        committed, new AfterCommit(ramBytesCopied, stateBytes, retireMs, aftermath, amiss));
  }

  /// What of [#retire] may not be left out, when that has failed.
  Retired retireAfterFault(Committed committed) {
    guest.adopt(committed.target());
    steer();
    held.lowerPriority();
    return retired(committed, AfterCommit.unknown(endSource(committed.target())));
  }

  /// The report that a source had stopped a guest whose memory was copied may come later than that
  /// of its target, or never.
  private void steer() {
    Contained.run(
        "steering the packets of " + guest.spec().name(), () -> held.steer(guest.endpoints()));
  }

  private OptionalLong faults(Instance now) {
    return Contained.get(
        "counting the faults of " + parties.id(), now::pageFaults, OptionalLong.empty());
  }

  /// The two hypervisors report on channels of their own, so the source's STOP can be read after
  /// the target's RESUME. A source that has ended reports no more.
  private void awaitStopped(Reports reports) {
    long deadline = parties.world().nanos() + STOP_REPORT_NANOS;
    while (!reports.isStopped() && !reports.isSourceGone()) {
      InstanceEvent event = parties.next(deadline);
      if (event == null) {
        return;
      }
      if (!parties.isOfSource(event)) {
        reports.keep(event);
      } else if (event instanceof InstanceEvent.PoweredOff
          || event instanceof InstanceEvent.Reset) {
        reports.ask(event);
      } else if (event instanceof InstanceEvent.Stopped stop) {
        reports.stopped(stop);
      } else if (event instanceof InstanceEvent.HandOverSent sent) {
        reports.sent(sent);
      } else if (event instanceof InstanceEvent.Ended) {
        reports.sourceIsGone();
      }
    }
  }

  /// Ends the source, and gives the target what only one of them can have.
  ///
  /// @return what it did not get, in sentences, or empty
  private String endSource(Instance now) {
    // What the source is in may end with it. Whether that was possible is known at the end.
    Contained.run("settling the target of " + parties.id(), now::settle);
    boolean gone =
        parties.endSource() || Contained.run("killing the source of " + parties.id(), source::kill);
    undead = Optional.of(source).filter(_ -> !gone);
    if (!gone) {
      // The ports stay as they are, since the old process still has its queues.
      return amiss(
          "Process "
              + source.pid()
              + ", in which the guest ran before, cannot be ended yet. Until it has ended, the guest"
              + " is not moved again, and the process keeps what only one can have, such as the"
              + " address of the guest's screen.");
    }
    Contained.run("closing the source of " + parties.id(), source::close);
    Contained.run("keeping the ports of " + guest.spec().name(), guest.endpoints()::keep);
    return Addresses.take(guest.spec().name(), () -> now).map(this::amiss).orElse("");
  }

  private String amiss(String sentences) {
    parties.progress().step("Committed", sentences);
    return sentences;
  }

  /// How the guest does with its heartbeat, and what its hypervisor had to look up, as long after
  /// the switch as [WatchTimes] says; without a heartbeat until now.
  private Aftermath aftermath(Instance now, long since, OptionalLong faultsThen, long beatsThen) {
    if (held.watch().isPresent()) {
      long until = since + parties.world().watchTimes().after().toNanos();
      parties.world().pause(Math.max(0, until - parties.world().nanos()));
    }
    OptionalLong faults = faults(now);
    double seconds = (parties.world().nanos() - since) / 1e9;
    return new Aftermath(
        held.watch().isPresent()
            ? slowdownPercent(held.watch().get(), beatsThen, seconds)
            : OptionalDouble.empty(),
        faults.isPresent() && faultsThen.isPresent()
            ? OptionalLong.of(faults.getAsLong() - faultsThen.getAsLong())
            : OptionalLong.empty());
  }

  private static OptionalDouble slowdownPercent(Pulse.Watch watch, long beatsThen, double seconds) {
    double quiet = watch.quietBeatsPerSecond();
    return quiet > 0
        ? OptionalDouble.of(100 - 100 * ((watch.beats() - beatsThen) / seconds / quiet))
        : OptionalDouble.empty();
  }

  private Retired retired(Committed committed, AfterCommit after) {
    Reports reports = committed.reports();
    lastReports(reports);
    ReplacementRecord record = measured.committed(committed, held.watch(), after);
    held.closeWatch();
    return new Retired(record, reports.kept(), reports.asked(), undead);
  }

  /// What the source reported at last, after the target's RESUME: one that has ended has reported
  /// all.
  private void lastReports(Reports reports) {
    for (InstanceEvent event : List.copyOf(guest.mailbox())) {
      if (!parties.isOfSource(event)) {
        continue;
      }
      switch (event) {
        case InstanceEvent.HandOverSent sent -> reports.sent(sent);
        case InstanceEvent.PoweredOff _, InstanceEvent.Reset _ -> reports.ask(event);
        case InstanceEvent.Stopped _,
            InstanceEvent.Resumed _,
            InstanceEvent.HandOverFailed _,
            InstanceEvent.Answering _,
            InstanceEvent.Changed _,
            InstanceEvent.Ended _ -> {}
      }
    }
  }
}
