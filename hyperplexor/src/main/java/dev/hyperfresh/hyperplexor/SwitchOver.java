package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Prepared;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Optional;

/// The switch itself: the last look at the guest, the order to hand over, and the blackout, in
/// which this only waits for what is reported. For the guest's thread.
final class SwitchOver {
  /// How long a target is waited for that alone can still run the guest, its source being gone.
  private static final long ONLY_HOPE_NANOS = 60_000_000_000L;

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
  /// this returns.
  Switching begin(Prepared prepared) {
    Switching switching = new Switching(prepared.target(), new Reports());
    held.enterGate(parties.world());
    parties.write(switching);
    parties.guest().mailbox().removeIf(event -> !isLasting(event));
    requireNotEnded();
    requireMovable();
    held.priority(priority(prepared.target()));
    held.watch().ifPresent(Pulse.Watch::switchBegins);
    held.raisePriority();
    parties.guest().endpoints().switchOver();
    return switching;
  }

  /// A process that serves other guests as well is not favoured: they would pay for it.
  private Optional<Surroundings.Priority> priority(Instance target) {
    Instance source = parties.source();
    return source.hasOwnProcess() && target.hasOwnProcess()
        ? Optional.of(parties.world().priority(source.pid(), target.pid()))
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
      return await(switching, ONLY_HOPE_NANOS);
    }
    reports.ordered(parties.world().wallMicros());
    parties.source().handOver();
    return await(switching, limit.duration().toNanos());
  }

  /// The blackout. Waits for the target to resume, for a failure, or for the budget to run out.
  private ReplacementState await(Switching switching, long budgetNanos) {
    Reports reports = switching.reports();
    long deadline = parties.world().nanos() + budgetNanos;
    while (true) {
      InstanceEvent event = parties.next(deadline);
      switch (event) {
        case null -> {
          return rollBack.afterTheOrder(switching, overdue(reports));
        }
        case InstanceEvent.Resumed resumed when parties.isOfTarget(resumed) -> {
          return new Committed(switching.target(), reports, resumed.atMicros());
        }
        case InstanceEvent.Stopped stop when parties.isOfSource(stop) -> reports.stopped(stop);
        case InstanceEvent.HandOverSent sent when parties.isOfSource(sent) -> reports.sent(sent);
        case InstanceEvent.HandOverFailed failure when parties.isOurs(failure) -> {
          return failed(switching, failure, failure.reason());
        }
        case InstanceEvent.Ended ended when parties.isOfTarget(ended) -> {
          return failed(switching, ended, ended.reason());
        }
        // Having stopped the guest it may have sent everything: then only the target can go on.
        case InstanceEvent.Ended ended when parties.isOfSource(ended) -> {
          reports.sourceIsGone();
          reports.keep(ended);
          if (!reports.isStopped()) {
            return rollBack.afterTheOrder(switching, ended(reports, ended));
          }
          deadline = parties.world().nanos() + ONLY_HOPE_NANOS;
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
    }
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
