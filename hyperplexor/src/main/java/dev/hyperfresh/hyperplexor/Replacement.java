package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Failed;
import dev.hyperfresh.hyperplexor.ReplacementState.Planned;
import dev.hyperfresh.hyperplexor.ReplacementState.Prepared;
import dev.hyperfresh.hyperplexor.ReplacementState.Retired;
import dev.hyperfresh.hyperplexor.ReplacementState.RolledBack;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Pipe;
import java.util.List;
import java.util.Optional;

/// The transaction that moves one guest from one hypervisor to another. Runs on the guest's thread;
/// what it needs of the world comes through [Movable], [Surroundings] and [Instance], so that the
/// simulation runs this very code in virtual time.
///
/// Each step takes one state and gives the next, which carries all that is known from there on;
/// [#step] is the whole diagram of [ReplacementState]. The steps are in rooms of their own: the
/// preparation here, the switch in [SwitchOver], the way back in [RollBack], the end of the source
/// in [Retirement]. What changes beside the states is what was got and must be given back ([Held])
/// and the figures ([Measurement]).
///
/// Until the target's RESUME the source is the guest's only authority, and every error leads back
/// to it; after that the target is, and the source is only ever ended. Whatever is thrown on the
/// way, errors of the virtual machine included, is turned into the right next state in one place,
/// so that every replacement that touched anything ends, with a record and in the journal. A source
/// never continues after its target has run the guest.
final class Replacement {
  /// More than any device state of a guest within the limits of a spec.
  private static final int CHANNEL_BYTES = 1 << 20;

  private final Parties parties;
  private final Runnable plan;
  private final Held held;
  private final Measurement measured;
  private final SwitchOver switchOver;
  private final RollBack rollBack;
  private final Retirement retirement;

  /// @param plan looks at everything before anything is touched, and throws when it would go wrong
  Replacement(
      String id,
      Movable guest,
      Release to,
      BlackoutLimit limit,
      Surroundings world,
      Runnable plan,
      Progress progress) {
    this(id, guest, to, limit, world, plan, progress, Optional.empty());
  }

  /// As the other one.
  ///
  /// @param copy how the guest's memory is copied, when its source shares it with nobody
  Replacement(
      String id,
      Movable guest,
      Release to,
      BlackoutLimit limit,
      Surroundings world,
      Runnable plan,
      Progress progress,
      Optional<CopyOrder> copy) {
    long start = world.nanos();
    this.parties =
        new Parties(
            id,
            guest,
            guest.running(),
            to,
            guest.nextGeneration(),
            world,
            Contained.progress(progress),
            copy);
    this.plan = plan;
    this.held = new Held(id);
    this.measured = new Measurement(parties, start);
    this.rollBack = new RollBack(parties, held, measured);
    this.switchOver = new SwitchOver(parties, held, limit, rollBack);
    this.retirement = new Retirement(parties, held, measured);
  }

  /// Goes from the plan to one of the ends.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES] when the plan fails; nothing was
  ///   touched
  ReplacementRecord run() {
    plan.run();
    measured.planned();
    try {
      return toTheEnd();
    } finally {
      held.giveBack();
    }
  }

  private ReplacementRecord toTheEnd() {
    ReplacementState state = new Planned();
    while (true) {
      switch (state) {
        case Retired retired -> {
          return retired.record();
        }
        case RolledBack back -> {
          return measured.rolledBack(back.reason());
        }
        case Failed failed -> {
          return measured.failed(failed.reason());
        }
        case Planned _, Prepared _, Switching _, Committed _ -> state = step(state);
      }
    }
  }

  private ReplacementState step(ReplacementState state) {
    ReplacementState next;
    try {
      next =
          switch (state) {
            case Planned planned -> prepare(planned);
            case Prepared prepared -> switchOver.begin(prepared);
            case Switching switching -> switchOver.run(switching);
            case Committed committed -> retirement.retire(committed);
            case Retired _, RolledBack _, Failed _ -> state;
          };
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      next = afterFault(state, e);
    }
    settle(next);
    return next;
  }

  /// Where a fault leads: back to the source before the commit, and never back after it. What the
  /// failed step had got is in [Held], and what it had heard in [Reports].
  private ReplacementState afterFault(ReplacementState state, Throwable fault) {
    return switch (state) {
      case Planned _, Prepared _ -> rollBack.beforeTheOrder(known(fault, Problem.REPLACE_PREPARE));
      case Switching switching ->
          rollBack.afterTheOrder(switching, known(fault, Problem.REPLACE_SWITCH));
      case Committed committed -> retirement.retireAfterFault(committed);
      case Retired _, RolledBack _, Failed _ -> state;
    };
  }

  private static HyperFreshException known(Throwable fault, Problem otherwise) {
    if (fault instanceof HyperFreshException known) {
      return known;
    }
    return otherwise.because(
        fault instanceof Error ? fault.toString() : String.valueOf(fault.getMessage()), fault);
  }

  /// Makes an end known. The journal's own failure changes nothing any more.
  private void settle(ReplacementState state) {
    Movable guest = parties.guest();
    switch (state) {
      case Retired retired -> {
        finish(retired, retired.kept());
        guest.goOn(retired.undead());
        retired.asked().ifPresent(guest::carryOut);
      }
      case RolledBack back -> {
        finish(back, back.kept());
        String why = back.reason().detail();
        switch (back.reason().problem()) {
          case REPLACE_STANDS -> guest.stand(why, back.undead());
          case REPLACE_DOUBT -> guest.stayInDoubt(why);
          default -> guest.goOn(back.undead());
        }
      }
      case Failed failed -> {
        finish(failed, failed.kept());
        guest.giveUp(failed.reason().detail());
      }
      case Planned _, Prepared _, Switching _, Committed _ -> {}
    }
  }

  private void finish(ReplacementState end, List<InstanceEvent> kept) {
    Contained.run("writing the end of " + parties.id(), () -> parties.write(end));
    parties.guest().heard(kept);
  }

  /// The guest runs. Starts the target, opens the channel, finds the heartbeat.
  private Prepared prepare(Planned planned) {
    Movable guest = parties.guest();
    Release to = parties.to();
    guest.publish(GuestView.State.REPLACING, "to " + to.name());
    parties
        .progress()
        .step(
            planned.name(),
            "starting " + to.name() + " beside " + parties.source().release().name());
    parties.write(planned);
    long begin = parties.world().nanos();
    Instance target =
        guest.kinds().of(to).startWaiting(guest.launch(to, guest.endpoints().spares()));
    held.target(target);
    guest.writeDown(Optional.of(target));
    guest.endpoints().join(parties.copy().isPresent());
    openChannel(target);
    Contained.get("populating the page tables of " + parties.id(), target::populate, 0L);
    observe();
    Prepared prepared = new Prepared(target);
    parties.write(prepared);
    measured.prepared(begin);
    String has = parties.copy().isPresent() ? " has empty memory" : " has mapped the memory";
    parties.progress().step(prepared.name(), to.name() + has + " and is waiting");
    return prepared;
  }

  /// A pipe and not a socket: the kernel then counts what the target reads.
  private void openChannel(Instance target) {
    try (Pipe channel = Pipe.open(CHANNEL_BYTES, "channel " + parties.id())) {
      if (parties.copy().isPresent()) {
        CopyOrder copy = parties.copy().get();
        copy.connect(parties.source(), target, channel.readEnd(), channel.writeEnd());
        return;
      }
      target.expect(channel.readEnd());
      parties.source().connect(channel.writeEnd());
    }
  }

  /// The memory that can be seen is empty until it has been copied.
  private void observe() {
    if (parties.copy().isPresent()) {
      return;
    }
    held.watch(parties.guest().observe());
    if (held.watch().isPresent()) {
      parties.world().pause(parties.world().watchTimes().before().toNanos());
    }
  }
}
