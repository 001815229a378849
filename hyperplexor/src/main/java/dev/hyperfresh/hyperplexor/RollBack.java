package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Failed;
import dev.hyperfresh.hyperplexor.ReplacementState.RolledBack;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/// The way back of a replacement that is not to go on. Until the order to hand over it only ends
/// the target; from then on the target may resume the guest at any moment, and what it did decides
/// who has the guest. [#targetRan] alone says whether it has run it, and where that is unknown the
/// guest stands in doubt. For the guest's thread.
final class RollBack {
  private final Parties parties;
  private final Held held;
  private final Measurement measured;
  private final Movable guest;
  private final Instance source;

  RollBack(Parties parties, Held held, Measurement measured) {
    this.parties = parties;
    this.held = held;
    this.measured = measured;
    this.guest = parties.guest();
    this.source = parties.source();
  }

  /// Why a replacement ends whose guest has powered itself off.
  static HyperFreshException poweredOff() {
    return Problem.REPLACE_OFF.because("It did so before the target ran it.");
  }

  /// The guest runs on the source, which has not been asked for anything.
  ReplacementState beforeTheOrder(HyperFreshException reason) {
    Optional<Instance> target = held.target();
    target.ifPresent(t -> Contained.run("killing the target of " + parties.id(), t::kill));
    held.steerBack(guest.endpoints());
    if (parties.copy().isPresent()) {
      Contained.run("setting the source of " + parties.id() + " back", source::withdraw);
    }
    RolledBack end = new RolledBack(reason, List.of(), Optional.empty());
    cleanUp(target, false, false);
    return told(end, target);
  }

  /// The target may resume the guest at any moment; so it is stopped first, and if it had resumed
  /// the guest by then it is the authority after all. Otherwise it never runs again, and the source
  /// is the authority.
  ReplacementState afterTheOrder(Switching switching, HyperFreshException reason) {
    long decided = parties.world().nanos();
    Instance target = switching.target();
    boolean frozen = Contained.run("freezing the target of " + parties.id(), target::freeze);
    Optional<ReplacementState> other = targetAfterAll(switching, reason, frozen);
    if (other.isPresent()) {
      return other.get();
    }
    ReplacementState end = takeAway(switching, reason, frozen);
    if (end instanceof RolledBack) {
      measured.undone(decided);
      stoodOnSource(switching.reports());
    }
    cleanUp(
        Optional.of(target), frozen, end instanceof RolledBack back && back.undead().isPresent());
    return told(end, Optional.of(target));
  }

  /// A frozen target that had resumed the guest is its authority. One that had not, and whose
  /// source died having stopped the guest, may hold all there is left of it, and is waited for once
  /// more.
  private Optional<ReplacementState> targetAfterAll(
      Switching switching, HyperFreshException reason, boolean stands) {
    Instance frozen = switching.target();
    Reports reports = switching.reports();
    boolean ran = targetRan(stands).orElse(false);
    boolean onlyHope =
        stands
            && reason.problem() == Problem.REPLACE_DEADLINE
            && reports.isStopped()
            && source.ended();
    if ((!ran && !onlyHope)
        || frozen.ended()
        || !Contained.run("thawing the target of " + parties.id(), frozen::thaw)) {
      return Optional.empty();
    }
    if (ran) {
      return Optional.of(
          new Committed(
              frozen,
              reports,
              resumedByTarget().map(InstanceEvent.Resumed::atMicros).orElse(OptionalLong.empty())));
    }
    reports.sourceIsGone();
    return Optional.of(switching);
  }

  /// Whether the target, which runs nothing now, has ever run the guest: by what it reported, and
  /// by the log of its run states, which outlives it and tells also what no report reached us of.
  ///
  /// @param heardAll whether every report of it has reached us
  /// @return empty when nothing tells
  private Optional<Boolean> targetRan(boolean heardAll) {
    if (resumedByTarget().isPresent()) {
      return Optional.of(true);
    }
    Optional<Boolean> logged =
        Contained.get(
            "reading the run states of the target of " + parties.id(),
            () -> guest.hasRun(parties.toGeneration()),
            Optional.empty());
    return logged.isEmpty() && heardAll ? Optional.of(false) : logged;
  }

  private Optional<InstanceEvent.Resumed> resumedByTarget() {
    return guest.mailbox().stream()
        .filter(parties::isOfTarget)
        .filter(InstanceEvent.Resumed.class::isInstance)
        .map(InstanceEvent.Resumed.class::cast)
        .findFirst();
  }

  /// Ends the target first: two hypervisors must never run the guest, whatever else is lost. One
  /// that is frozen runs nothing any more, so its end, which takes longer the more memory it maps,
  /// need not be waited for. For one that cannot be ended the source waits.
  private ReplacementState takeAway(
      Switching switching, HyperFreshException reason, boolean frozen) {
    Instance target = switching.target();
    Reports reports = switching.reports();
    boolean harmless =
        Contained.run(
            "killing the target of " + parties.id(), frozen ? target::condemn : target::kill);
    held.steerBack(guest.endpoints());
    if (guestIsOff(reports)) {
      return new RolledBack(
          reason.problem() == Problem.REPLACE_OFF ? reason : poweredOff(),
          reports.kept(),
          harmless ? Optional.empty() : Optional.of(target));
    }
    if (!harmless) {
      return source.ended() ? lost(reports, reason.detail(), reason) : blocked(switching, reason);
    }
    Optional<Boolean> ran = targetRan(frozen);
    if (ran.isEmpty() || ran.get()) {
      return source.ended()
          ? lost(reports, reason.detail(), reason)
          : rolledBack(
              reports,
              Problem.REPLACE_DOUBT.because(
                  reason.detail() + " " + (ran.isPresent() ? Hosting.RAN : Hosting.MAY_HAVE_RUN),
                  reason));
    }
    return takeBack(reports, reason);
  }

  /// Whether the guest asked for its end. Its hypervisor, if it is there, then only waits. It may
  /// have said so just before what ended the switch, and not have been read yet.
  private boolean guestIsOff(Reports reports) {
    if (!reports.asksForPowerOff() && !isPowerOffReported()) {
      return false;
    }
    if (parties.copy().isEmpty()) {
      var _ = parties.endSource();
    } else {
      // The guest was not adopted, so its hypervisor is not ours to end.
      Contained.run("setting the source of " + parties.id() + " back", source::withdraw);
    }
    return true;
  }

  private boolean isPowerOffReported() {
    return guest.mailbox().stream()
        .filter(parties::isOfSource)
        .anyMatch(InstanceEvent.PoweredOff.class::isInstance);
  }

  /// A source that lives is never given up: it alone holds the guest's state.
  private ReplacementState takeBack(Reports reports, HyperFreshException reason) {
    try {
      if (reports.isStoppedByOther()) {
        source.withdraw();
      } else {
        source.takeBack();
      }
      return rolledBack(reports, reason);
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      String why = e instanceof HyperFreshException known ? known.detail() : String.valueOf(e);
      return source.ended()
          ? lost(reports, why, e)
          : rolledBack(reports, Problem.REPLACE_STANDS.because(reason.detail() + " " + why, e));
    }
  }

  private static RolledBack rolledBack(Reports reports, HyperFreshException reason) {
    return new RolledBack(reason, reports.kept(), Optional.empty());
  }

  private static Failed lost(Reports reports, String why, Throwable cause) {
    return new Failed(Problem.REPLACE_LOST.because(why, cause), reports.kept());
  }

  private static RolledBack blocked(Switching switching, HyperFreshException reason) {
    Instance undead = switching.target();
    return new RolledBack(
        Problem.REPLACE_STANDS.because(
            reason.detail()
                + " The target, process "
                + undead.pid()
                + ", cannot be ended yet. When it has ended without having run the guest, the"
                + " source resumes the guest.",
            reason),
        switching.reports().kept(),
        Optional.of(undead));
  }

  /// The source stopped the guest, unless it was given up before, and ran it again, unless that is
  /// still to come. What it reported of this is used up here.
  private void stoodOnSource(Reports reports) {
    OptionalLong resumedMicros = OptionalLong.empty();
    for (InstanceEvent event : guest.mailbox()) {
      if (!parties.isOfSource(event)) {
        continue;
      }
      if (event instanceof InstanceEvent.Stopped stop) {
        reports.stopped(stop);
      } else if (event instanceof InstanceEvent.Resumed resumed) {
        resumedMicros = resumed.atMicros();
      }
    }
    guest
        .mailbox()
        .removeIf(event ->
            parties.isOfSource(event)
                && (event instanceof InstanceEvent.Stopped
                    || event instanceof InstanceEvent.Resumed));
    if (reports.isStopped()) {
      measured.clocksStood(source, reports.stoppedMicros(), resumedMicros);
    }
  }

  /// None of this is worth a moment in which the guest stands still, so it comes after it goes on.
  ///
  /// @param condemned whether the target's end has not been waited for
  /// @param undead whether the target is there to stay for now, and with it its ports
  private void cleanUp(Optional<Instance> target, boolean condemned, boolean undead) {
    held.leaveGate();
    target
        .filter(_ -> condemned)
        .ifPresent(
            t -> Contained.run("waiting for the end of the target of " + parties.id(), t::kill));
    held.lowerPriority();
    if (!undead) {
      Contained.run("dropping the new ports of " + guest.spec().name(), guest.endpoints()::drop);
      target.ifPresent(t -> Contained.run("closing the target of " + parties.id(), t::close));
    }
    held.closeWatch();
  }

  private ReplacementState told(ReplacementState end, Optional<Instance> target) {
    parties.progress().step(end.name(), inWords(end));
    return withLastWords(end, target.map(Instance::lastWords).orElse(""));
  }

  private String inWords(ReplacementState end) {
    if (!(end instanceof RolledBack back)) {
      return "the guest is lost";
    }
    String where = source.release().name();
    return switch (back.reason().problem()) {
      case REPLACE_OFF -> "the guest powered itself off";
      case REPLACE_DOUBT -> "the guest is paused on " + where + ", in doubt";
      case REPLACE_STANDS -> "the guest is paused on " + where;
      default -> "the guest stays on " + where;
    };
  }

  /// What the target printed says more than the refusal that reached us, and which of the two sides
  /// noticed it first says nothing.
  private ReplacementState withLastWords(ReplacementState end, String words) {
    if (!(end instanceof RolledBack back) || words.isEmpty()) {
      return end;
    }
    HyperFreshException reason = back.reason();
    return new RolledBack(
        reason
            .problem()
            .because(reason.detail() + " " + parties.to().name() + " said: " + words, reason),
        back.kept(),
        back.undead());
  }
}
