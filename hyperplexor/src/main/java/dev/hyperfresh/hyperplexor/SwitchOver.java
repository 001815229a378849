package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Prepared;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.util.Optional;

/// The switch itself: the last look at the guest, the order to hand over, and the blackout, in
/// which this only waits for what is reported. For the guest's thread.
final class SwitchOver {
  /// How long a target is waited for that alone can still run the guest, its source being gone.
  private static final long ONLY_HOPE_NANOS = 60_000_000_000L;

  /// For how long a guest that is copied may stand before its time is counted: two questions that
  /// are not answered. Clocks that say more have been set meanwhile.
  private static final long MOST_UNHEARD_MICROS = 4_000_000;

  private final Parties parties;
  private final Held held;
  private final BlackoutLimit limit;
  private final RollBack rollBack;

  SwitchOver(Parties parties, Held held, BlackoutLimit limit, RollBack rollBack) {
    this.parties = parties;
    this.held = held;
    this.limit = limit;
    this.rollBack = rollBack;
  }

  /// The last moment in which nothing has happened to the guest. What the order needs is there when
  /// this returns. A copy of its memory takes its time, in which other guests may switch and
  /// packets go to the source.
  Switching begin(Prepared prepared) {
    Switching switching = new Switching(prepared.target(), new Reports());
    boolean atOnce = parties.copy().isEmpty();
    if (atOnce) {
      parties.source().writeBack();
      held.enterGate(parties.world());
    }
    parties.progress().requireWanted();
    parties.write(switching);
    parties.guest().mailbox().removeIf(event -> !isLasting(event));
    requireNotEnded();
    requireMovable();
    if (atOnce) {
      held.priority(priority(prepared.target()));
      held.watch().ifPresent(Pulse.Watch::switchBegins);
      held.raisePriority();
      held.steer(parties.guest().endpoints());
    }
    return switching;
  }

  /// A process that serves other guests as well is not favoured: they would pay for it. One that
  /// something else started can start processes, which would keep what it passes on.
  private Optional<Surroundings.Priority> priority(Instance target) {
    Instance source = parties.source();
    return source.hasOwnProcess() && target.hasOwnProcess()
        ? Optional.of(
            parties
                .world()
                .priority(source.pid(), target.pid(), !parties.guest().isForeign(source)))
        : Optional.empty();
  }

  /// Whether an event still matters after the step in which it came.
  private static boolean isLasting(InstanceEvent event) {
    return event instanceof InstanceEvent.Ended
        || event instanceof InstanceEvent.PoweredOff
        || event instanceof InstanceEvent.Answering;
  }

  private void requireNotEnded() {
    for (InstanceEvent event : parties.guest().mailbox()) {
      if (event instanceof InstanceEvent.PoweredOff off && parties.isOfSource(off)) {
        throw RollBack.poweredOff();
      }
      if (event instanceof InstanceEvent.Ended ended && parties.isOurs(ended)) {
        throw Problem.REPLACE_PREPARE.because(parties.side(ended) + ended.reason());
      }
    }
  }

  /// What the plan saw may have changed since.
  private void requireMovable() {
    Instance source = parties.source();
    Check state = RunStateCheck.of(source.runState(), source.release(), parties.to());
    if (state.failed()) {
      throw Problem.REPLACE_PREPARE.because(state.sentences());
    }
  }

  /// Orders the hand-over and waits for its end. One whose source is gone was ordered before; its
  /// target is waited for once more.
  ReplacementState run(Switching switching) {
    Reports reports = switching.reports();
    if (reports.isSourceGone()) {
      return await(switching, parties.world().nanos() + ONLY_HOPE_NANOS);
    }
    reports.ordered(parties.world().wallMicros());
    parties.source().handOver();
    return parties
        .copy()
        .flatMap(copy -> copy(switching, new CopyOrder.Watch(copy, parties)))
        .orElseGet(() -> await(switching, deadline(reports)));
  }

  /// When the switch is given up. The guest may stand already: a source that was asked something
  /// when it stopped a guest whose memory it copies may have been slow to answer.
  private long deadline(Reports reports) {
    long now = parties.world().wallMicros();
    long stands = now - reports.stoppedMicros().orElse(now);
    boolean believed = stands > 0 && stands <= MOST_UNHEARD_MICROS;
    return parties.world().nanos() + limit.duration().toNanos() - (believed ? 1000 * stands : 0);
  }

  /// The guest runs on the source while its memory is copied, until the source stops it.
  ///
  /// @return where it leads when that does not come about
  private Optional<ReplacementState> copy(Switching switching, CopyOrder.Watch copy) {
    Reports reports = switching.reports();
    while (!reports.isStopped()) {
      InstanceEvent event = parties.next(copy.nextLook());
      if (event == null) {
        copy.look();
        continue;
      }
      Optional<ReplacementState> end = heard(switching, event);
      if (end.isPresent()) {
        return end;
      }
    }
    // Where it fails, the target may run all the same; it is tried again when that is seen.
    Contained.run(
        "steering the packets of " + parties.id(), () -> held.steer(parties.guest().endpoints()));
    requireStoppedByHandOver(reports);
    return Optional.empty();
  }

  /// Others may stop the guest while it is copied, and want it to stay so. A source that is busy
  /// with the rest of the memory does not answer.
  private void requireStoppedByHandOver(Reports reports) {
    RunState state;
    try {
      state = parties.source().runState();
    } catch (HyperFreshException unanswered) {
      return;
    }
    if (state.hasSent()) {
      return;
    }
    reports.stoppedByOther();
    throw Problem.ADOPT_COPY.because(
        "The guest was stopped while it was copied, and not by the copy; it is "
            + state.label()
            + ".");
  }

  /// The blackout. Waits for the target to resume, for a failure, or for the budget to run out. A
  /// source that has ended may have sent everything: then only the target can go on.
  private ReplacementState await(Switching switching, long until) {
    Reports reports = switching.reports();
    long deadline = until;
    while (true) {
      InstanceEvent event = parties.next(deadline);
      if (event == null) {
        return rollBack.afterTheOrder(switching, overdue(reports));
      }
      boolean sourceWasThere = !reports.isSourceGone();
      Optional<ReplacementState> end = heard(switching, event);
      if (end.isPresent()) {
        return end.get();
      }
      if (sourceWasThere && reports.isSourceGone()) {
        deadline = parties.world().nanos() + ONLY_HOPE_NANOS;
      }
    }
  }

  /// Takes note of an event.
  ///
  /// @return where it leads; empty when the switch goes on
  private Optional<ReplacementState> heard(Switching switching, InstanceEvent event) {
    Reports reports = switching.reports();
    switch (event) {
      case InstanceEvent.Resumed resumed when parties.isOfTarget(resumed) -> {
        return Optional.of(new Committed(switching.target(), reports, resumed.atMicros()));
      }
      case InstanceEvent.Stopped stop when parties.isOfSource(stop) -> reports.stopped(stop);
      case InstanceEvent.HandOverSent sent when parties.isOfSource(sent) -> reports.sent(sent);
      case InstanceEvent.HandOverFailed failure when parties.isOurs(failure) -> {
        return Optional.of(failed(switching, failure, failure.reason()));
      }
      case InstanceEvent.Ended ended when parties.isOfTarget(ended) -> {
        return Optional.of(failed(switching, ended, ended.reason()));
      }
      case InstanceEvent.Ended ended when parties.isOfSource(ended) -> {
        reports.sourceIsGone();
        reports.keep(ended);
        if (!reports.isStopped()) {
          return Optional.of(rollBack.afterTheOrder(switching, ended(reports, ended)));
        }
      }
      case InstanceEvent.PoweredOff off when parties.isOfSource(off) -> reports.ask(off);
      case InstanceEvent.Reset reset when parties.isOfSource(reset) -> reports.ask(reset);
      case InstanceEvent.PoweredOff _, InstanceEvent.Answering _ -> reports.keep(event);
      case InstanceEvent.Reset _,
          InstanceEvent.Changed _,
          InstanceEvent.Ended _,
          InstanceEvent.HandOverFailed _,
          InstanceEvent.Resumed _,
          InstanceEvent.Stopped _,
          InstanceEvent.HandOverSent _ -> {}
    }
    return Optional.empty();
  }

  private ReplacementState failed(Switching switching, InstanceEvent event, String reason) {
    return rollBack.afterTheOrder(
        switching, Problem.REPLACE_SWITCH.because(parties.side(event) + reason));
  }

  private HyperFreshException ended(Reports reports, InstanceEvent.Ended ended) {
    return reports.asked().isPresent()
        ? RollBack.poweredOff()
        : Problem.REPLACE_LOST.because(parties.side(ended) + ended.reason());
  }

  private HyperFreshException overdue(Reports reports) {
    return reports.isSourceGone()
        ? Problem.REPLACE_LOST.because(
            "The source ended, and the target did not resume the guest within 60 s.")
        : Problem.REPLACE_DEADLINE.because(
            "The target did not resume the guest within " + limit.duration().toMillis() + " ms.");
  }
}
