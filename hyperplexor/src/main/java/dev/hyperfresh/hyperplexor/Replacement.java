package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.ReplacementRecord.Aftermath;
import dev.hyperfresh.hyperplexor.ReplacementState.Committed;
import dev.hyperfresh.hyperplexor.ReplacementState.Failed;
import dev.hyperfresh.hyperplexor.ReplacementState.Planned;
import dev.hyperfresh.hyperplexor.ReplacementState.Prepared;
import dev.hyperfresh.hyperplexor.ReplacementState.Retired;
import dev.hyperfresh.hyperplexor.ReplacementState.RolledBack;
import dev.hyperfresh.hyperplexor.ReplacementState.Switching;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.linux.Pipe;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/// The transaction that moves one guest from one hypervisor to another. Runs on the guest's thread;
/// what it needs of the world comes through [Movable], [Surroundings] and [Instance], so that the
/// simulation runs this very code in virtual time.
///
/// Each method takes one state and returns the next; [#step] is the whole diagram of
/// [ReplacementState]. Until the target's RESUME the source is the guest's only authority, and
/// every error leads back to it; after that the target is, and the source is only ever ended.
/// Whatever is thrown on the way, errors of the virtual machine included, is turned into the right
/// next state in one place, so that every replacement that touched anything ends, with a record and
/// in the journal. A source never continues after its target has run the guest: [#targetRan] alone
/// says whether it has, and where that is unknown the guest stands in doubt.
final class Replacement {
  /// More than any device state of a guest within the limits of a spec.
  private static final int CHANNEL_BYTES = 1 << 20;

  /// How long the heartbeat is watched before the switch.
  private static final long QUIET_NANOS = 500_000_000;

  /// How long after the switch the guest counts as being on cold page tables.
  private static final long AFTER_NANOS = 1_000_000_000;

  private static final long STOP_REPORT_NANOS = 1_000_000_000;

  /// How long a target is waited for that alone can still run the guest, its source being gone.
  private static final long ONLY_HOPE_NANOS = 60_000_000_000L;

  /// Between a report of the hypervisor and its note of the same; they are some lines of code
  /// apart.
  private static final long NOTED_MICROS = 1_000_000;

  private static final Duration END_LIMIT = Duration.ofSeconds(5);

  private final Movable guest;
  private final Release to;
  private final Duration maxBlackout;
  private final Surroundings world;
  private final Runnable plan;
  private final Progress progress;
  private final String id;
  private final Instance source;
  private final Instant startedAt = Instant.now();
  private final long start;
  private final int toGeneration;

  /// Events that are the guest's own affair, for [Guest#goOn].
  private final List<InstanceEvent> kept = new ArrayList<>();

  private Optional<Instance> target = Optional.empty();
  private Optional<Pulse.Watch> watch = Optional.empty();
  private Optional<Surroundings.Priority> priority = Optional.empty();
  private Optional<SwitchGate.Pass> pass = Optional.empty();
  private Optional<InstanceEvent> asked = Optional.empty();
  private Optional<Instance> undead = Optional.empty();
  private boolean interrupted;
  private Aftermath aftermath = Aftermath.UNKNOWN;
  private boolean ordered;
  private boolean sourceEnded;
  private double planMs;
  private double prepareMs;
  private double handOverMs;
  private OptionalDouble rollBackMs = OptionalDouble.empty();
  private long orderedMicros;
  private OptionalLong stoppedMicros = OptionalLong.empty();
  private OptionalLong sentMicros = OptionalLong.empty();
  private OptionalDouble saveMs = OptionalDouble.empty();
  private OptionalDouble loadMs = OptionalDouble.empty();
  private OptionalDouble clockLostMs = OptionalDouble.of(0);

  /// @param plan looks at everything before anything is touched, and throws when it would go wrong
  Replacement(
      String id,
      Movable guest,
      Release to,
      Duration maxBlackout,
      Surroundings world,
      Runnable plan,
      Progress progress) {
    this.id = id;
    this.world = world;
    this.plan = plan;
    this.start = world.nanos();
    this.guest = guest;
    this.to = to;
    this.maxBlackout =
        maxBlackout.compareTo(Hyperplexor.MAX_BLACKOUT) < 0
            ? maxBlackout
            : Hyperplexor.MAX_BLACKOUT;
    this.progress = Contained.progress(progress);
    this.source = guest.running();
    this.toGeneration = guest.nextGeneration();
  }

  /// Goes from the plan to one of the ends.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_OBSTACLES] when the plan fails; nothing was
  ///   touched
  ReplacementRecord run() {
    plan.run();
    planMs = millisSince(start);
    try {
      return toTheEnd();
    } finally {
      // Whatever was thrown on the way: a place that is never left stops all other guests.
      leaveGate();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
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
          return unsuccessful("rolled-back", back.reason());
        }
        case Failed failed -> {
          return unsuccessful("failed", failed.reason());
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
            case Planned _ -> prepare();
            case Prepared prepared -> switchOver(prepared);
            case Switching switching -> await(switching);
            case Committed committed -> retire(committed);
            case Retired _, RolledBack _, Failed _ -> state;
          };
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      next = afterFault(state, e);
    }
    settle(next);
    return next;
  }

  /// Where a fault leads: back to the source before the commit, and never back after it.
  private ReplacementState afterFault(ReplacementState state, Throwable fault) {
    return switch (state) {
      case Planned _, Prepared _, Switching _ -> giveUp(known(fault));
      case Committed committed -> {
        guest.adopt(committed.target());
        lowerPriority();
        endSource();
        yield retired(committed, OptionalLong.empty(), 0, 0);
      }
      case Retired _, RolledBack _, Failed _ -> state;
    };
  }

  private HyperFreshException known(Throwable fault) {
    if (fault instanceof HyperFreshException known) {
      return known;
    }
    Problem problem = ordered ? Problem.REPLACE_SWITCH : Problem.REPLACE_PREPARE;
    return problem.because(
        fault instanceof Error ? fault.toString() : String.valueOf(fault.getMessage()), fault);
  }

  /// Makes an end known. The journal's own failure changes nothing any more.
  private void settle(ReplacementState end) {
    switch (end) {
      case Retired _ -> {
        finish(end);
        guest.goOn();
        asked.ifPresent(guest::carryOut);
      }
      case RolledBack back -> {
        finish(end);
        String why = back.reason().detail();
        switch (back.reason().problem()) {
          case REPLACE_STANDS -> guest.stand(why, undead);
          case REPLACE_DOUBT -> guest.stayInDoubt(why);
          default -> guest.goOn();
        }
      }
      case Failed failed -> {
        finish(end);
        guest.giveUp(failed.reason().detail());
      }
      case Planned _, Prepared _, Switching _, Committed _ -> {}
    }
  }

  private void finish(ReplacementState end) {
    Contained.run("writing the end of " + id, () -> write(end));
    guest.heard(kept);
  }

  /// The guest runs. Starts the target, opens the channel, finds the heartbeat.
  private ReplacementState prepare() {
    guest.publish(GuestView.State.REPLACING, "to " + to.name());
    progress.step("Planned", "starting " + to.name() + " beside " + source.release().name());
    write(new Planned());
    long begin = world.nanos();
    Instance waiting =
        guest.kinds().of(to).startWaiting(guest.launch(to, guest.endpoints().spares()));
    target = Optional.of(waiting);
    guest.writeDown(target);
    guest.endpoints().join();
    openChannel(waiting);
    Contained.get("populating the page tables of " + id, waiting::populate, 0L);
    observe();
    Prepared prepared = new Prepared(waiting);
    write(prepared);
    prepareMs = millisSince(begin);
    progress.step("Prepared", to.name() + " has mapped the memory and waits");
    return prepared;
  }

  /// A pipe and not a socket: the kernel then counts what the target reads.
  private void openChannel(Instance target) {
    try (Pipe channel = Pipe.open(CHANNEL_BYTES, "channel " + id)) {
      target.expect(channel.readEnd());
      source.connect(channel.writeEnd());
    }
  }

  private void observe() {
    watch = guest.observe();
    if (watch.isPresent()) {
      world.pause(QUIET_NANOS);
    }
  }

  /// The last moment in which nothing has happened to the guest.
  private ReplacementState switchOver(Prepared prepared) {
    Switching switching = new Switching(prepared.target());
    enterGate();
    write(switching);
    guest.mailbox().removeIf(event -> !isLasting(event));
    requireNotEnded();
    requireMovable();
    priority = priority(prepared.target());
    watch.ifPresent(Pulse.Watch::switchBegins);
    priority.ifPresent(Surroundings.Priority::raise);
    guest.endpoints().switchOver();
    orderedMicros = world.wallMicros();
    ordered = true;
    source.handOver();
    return switching;
  }

  /// A process that serves other guests as well is not favoured: they would pay for it.
  private Optional<Surroundings.Priority> priority(Instance target) {
    return source.hasOwnProcess() && target.hasOwnProcess()
        ? Optional.of(world.priority(source.pid(), target.pid()))
        : Optional.empty();
  }

  /// The guest runs. An interrupt is kept until the end: it would spoil the waits of the roll-back.
  private void enterGate() {
    try {
      pass = Optional.of(world.enterSwitch());
    } catch (InterruptedException e) {
      interrupted = true;
      throw Problem.REPLACE_PREPARE.because("It was interrupted before its turn to switch.", e);
    }
  }

  private void leaveGate() {
    pass.ifPresent(SwitchGate.Pass::leave);
  }

  /// Whether an event still matters after the step in which it came.
  private static boolean isLasting(InstanceEvent event) {
    return event instanceof InstanceEvent.Ended
        || event instanceof InstanceEvent.PoweredOff
        || event instanceof InstanceEvent.Answering;
  }

  private void requireNotEnded() {
    for (InstanceEvent event : guest.mailbox()) {
      if (event instanceof InstanceEvent.PoweredOff off && isOfSource(off)) {
        throw poweredOff();
      }
      if (event instanceof InstanceEvent.Ended ended && isOurs(ended)) {
        throw Problem.REPLACE_PREPARE.because(side(ended) + ended.reason());
      }
    }
  }

  /// What the plan saw may have changed since.
  private void requireMovable() {
    Check state = RunStateCheck.of(source.runState(), source.release(), to);
    if (state.failed()) {
      throw Problem.REPLACE_PREPARE.because(state.sentences());
    }
  }

  private static HyperFreshException poweredOff() {
    return Problem.REPLACE_OFF.because("It did so before the new hypervisor ran it.");
  }

  private boolean isOfSource(InstanceEvent event) {
    return event.generation() == source.generation();
  }

  private boolean isOurs(InstanceEvent event) {
    return event.generation() == source.generation() || event.generation() == toGeneration;
  }

  /// The blackout. Waits for the target to resume, for a failure, or for the budget to run out.
  private ReplacementState await(Switching switching) {
    Instance target = switching.target();
    long deadline = world.nanos() + (sourceEnded ? ONLY_HOPE_NANOS : maxBlackout.toNanos());
    while (true) {
      InstanceEvent event = next(deadline);
      switch (event) {
        case null -> {
          return giveUp(overdue());
        }
        case InstanceEvent.Resumed resumed when resumed.generation() == target.generation() -> {
          return new Committed(target, resumed.atMicros());
        }
        case InstanceEvent.Stopped stop when stop.generation() == source.generation() ->
            stoppedMicros = OptionalLong.of(stop.atMicros());
        case InstanceEvent.HandOverSent sent when sent.generation() == source.generation() ->
            sentMicros = OptionalLong.of(sent.atMicros());
        case InstanceEvent.HandOverFailed failure when isOurs(failure) -> {
          return giveUp(Problem.REPLACE_SWITCH.because(side(failure) + failure.reason()));
        }
        case InstanceEvent.Ended ended when ended.generation() == target.generation() -> {
          return giveUp(Problem.REPLACE_SWITCH.because(side(ended) + ended.reason()));
        }
        // Having stopped the guest it may have sent everything: then only the target can go on.
        case InstanceEvent.Ended ended when ended.generation() == source.generation() -> {
          sourceEnded = true;
          kept.add(ended);
          if (stoppedMicros.isEmpty()) {
            return giveUp(
                asked.isPresent()
                    ? poweredOff()
                    : Problem.REPLACE_LOST.because(side(ended) + ended.reason()));
          }
          deadline = world.nanos() + ONLY_HOPE_NANOS;
        }
        case InstanceEvent.PoweredOff off when isOfSource(off) -> ask(off);
        case InstanceEvent.Reset reset when isOfSource(reset) -> ask(reset);
        case InstanceEvent.PoweredOff _, InstanceEvent.Answering _ -> kept.add(event);
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

  /// The guest asked its old hypervisor for it. One that has stopped the guest cannot do it any
  /// more where the guest goes on; before that it does it by itself. A power-off is not taken back
  /// by a reset.
  private void ask(InstanceEvent event) {
    kept.add(event);
    if (event instanceof InstanceEvent.PoweredOff || stoppedMicros.isPresent()) {
      asked = asked.filter(InstanceEvent.PoweredOff.class::isInstance).or(() -> Optional.of(event));
    }
  }

  private HyperFreshException overdue() {
    return sourceEnded
        ? Problem.REPLACE_LOST.because(
            "The old hypervisor ended, and the new one did not resume the guest within 60 s.")
        : Problem.REPLACE_DEADLINE.because(
            "The target did not resume within " + maxBlackout.toMillis() + " ms.");
  }

  private String side(InstanceEvent event) {
    return event.generation() == source.generation()
        ? source.release().name() + " (old): "
        : to.name() + " (new): ";
  }

  private @Nullable InstanceEvent next(long deadline) {
    return guest.await(Math.max(0, deadline - world.nanos()));
  }

  /// The replacement is not to go on. Once the order to hand over is out, the target may resume the
  /// guest at any moment; so it is stopped first, and if it had resumed the guest by then it is the
  /// authority after all. Otherwise it never runs again, and the source is the authority.
  private ReplacementState giveUp(HyperFreshException reason) {
    long decided = world.nanos();
    boolean frozen =
        ordered
            && target.isPresent()
            && Contained.run("stopping the target of " + id, target.get()::freeze);
    Optional<ReplacementState> other =
        ordered && target.isPresent() ? targetAfterAll(reason, frozen) : Optional.empty();
    return other.orElseGet(() -> {
      ReplacementState end = rollBack(reason, frozen);
      if (ordered && end instanceof RolledBack) {
        rollBackMs = OptionalDouble.of(millisSince(decided));
        stoodOnSource();
      }
      cleanUp(frozen);
      progress.step(name(end), inWords(end));
      return withLastWords(end);
    });
  }

  private String inWords(ReplacementState end) {
    if (!(end instanceof RolledBack back)) {
      return "the guest is lost";
    }
    return switch (back.reason().problem()) {
      case REPLACE_OFF -> "the guest has powered itself off";
      case REPLACE_DOUBT -> "the guest stands with " + source.release().name() + ", in doubt";
      case REPLACE_STANDS -> "the guest stands with " + source.release().name();
      default -> "the guest stays with " + source.release().name();
    };
  }

  /// The source stopped the guest, unless it was given up before, and ran it again, unless that is
  /// still to come. What it reported of this is used up here.
  private void stoodOnSource() {
    OptionalLong resumedMicros = OptionalLong.empty();
    for (InstanceEvent event : guest.mailbox()) {
      if (event.generation() != source.generation()) {
        continue;
      }
      if (event instanceof InstanceEvent.Stopped stop) {
        stoppedMicros = OptionalLong.of(stop.atMicros());
      } else if (event instanceof InstanceEvent.Resumed resumed) {
        resumedMicros = resumed.atMicros();
      }
    }
    guest
        .mailbox()
        .removeIf(event ->
            event.generation() == source.generation()
                && (event instanceof InstanceEvent.Stopped
                    || event instanceof InstanceEvent.Resumed));
    if (stoppedMicros.isPresent()) {
      stood(source, resumedMicros);
    }
  }

  /// The guest's clocks stood until they went on in `now`, unless they still stand. They stop a
  /// moment before the source reports STOP, and go on a moment after RESUME was reported; where the
  /// hypervisors noted these moments, they count.
  private void stood(Instance now, OptionalLong resumedMicros) {
    OptionalLong from =
        near(
            stoppedMicros,
            Contained.get(
                "asking when the clocks of " + id + " stopped",
                source::clocksStoppedMicros,
                OptionalLong.empty()));
    OptionalLong until =
        near(
            resumedMicros,
            Contained.get(
                "asking when the clocks of " + id + " went on",
                now::clocksStartedMicros,
                OptionalLong.empty()));
    clockLostMs =
        from.isPresent() && until.isPresent()
            ? OptionalDouble.of(Math.max(0, until.getAsLong() - from.getAsLong()) / 1e3)
            : OptionalDouble.empty();
    guest.stood(from, until);
  }

  /// What was noted, unless it was of another stop than the one reported.
  private static OptionalLong near(OptionalLong reported, OptionalLong noted) {
    return reported.isPresent()
            && noted.isPresent()
            && Math.abs(noted.getAsLong() - reported.getAsLong()) < NOTED_MICROS
        ? noted
        : reported;
  }

  /// None of this is worth a moment in which the guest stands still, so it comes after it goes on.
  private void cleanUp(boolean condemned) {
    leaveGate();
    target
        .filter(_ -> condemned)
        .ifPresent(t -> Contained.run("waiting for the end of the target of " + id, t::kill));
    lowerPriority();
    if (undead.isEmpty()) {
      Contained.run("dropping the new ports of " + guest.spec().name(), guest.endpoints()::drop);
      target.ifPresent(t -> Contained.run("closing the target of " + id, t::close));
    }
    closeWatch();
  }

  private void lowerPriority() {
    Optional<Surroundings.Priority> raised = priority;
    priority = Optional.empty();
    raised.ifPresent(r -> Contained.run("lowering the priority of " + id, r::lower));
  }

  /// What the target printed says more than the refusal that reached us, and which of the two sides
  /// noticed it first says nothing.
  private ReplacementState withLastWords(ReplacementState end) {
    String words = target.map(Instance::lastWords).orElse("");
    if (!(end instanceof RolledBack back) || words.isEmpty()) {
      return end;
    }
    HyperFreshException reason = back.reason();
    return new RolledBack(
        reason.problem().because(reason.detail() + " " + to.name() + " said: " + words, reason));
  }

  /// A frozen target that had resumed the guest is its authority. One that had not, and whose
  /// source died having stopped the guest, may hold all there is left of it, and is waited for once
  /// more.
  private Optional<ReplacementState> targetAfterAll(HyperFreshException reason, boolean stands) {
    Instance frozen = target.orElseThrow();
    boolean ran = targetRan(stands).orElse(false);
    boolean onlyHope =
        stands
            && reason.problem() == Problem.REPLACE_DEADLINE
            && stoppedMicros.isPresent()
            && source.ended();
    if ((!ran && !onlyHope)
        || frozen.ended()
        || !Contained.run("continuing the target of " + id, frozen::thaw)) {
      return Optional.empty();
    }
    if (ran) {
      return Optional.of(
          new Committed(
              frozen,
              resumedByTarget().map(InstanceEvent.Resumed::atMicros).orElse(OptionalLong.empty())));
    }
    sourceEnded = true;
    return Optional.of(new Switching(frozen));
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
            "reading the run states of the target of " + id,
            () -> guest.hasRun(toGeneration),
            Optional.empty());
    return logged.isEmpty() && heardAll ? Optional.of(false) : logged;
  }

  private Optional<InstanceEvent.Resumed> resumedByTarget() {
    return guest.mailbox().stream()
        .filter(event -> event.generation() == toGeneration)
        .filter(InstanceEvent.Resumed.class::isInstance)
        .map(InstanceEvent.Resumed.class::cast)
        .findFirst();
  }

  /// Ends the target first: two hypervisors must never run the guest, whatever else is lost. One
  /// that is frozen runs nothing any more, so its end, which takes longer the more memory it maps,
  /// need not be waited for. For one that cannot be ended the source waits.
  private ReplacementState rollBack(HyperFreshException reason, boolean frozen) {
    boolean harmless =
        target.isEmpty()
            || Contained.run(
                "killing the target of " + id, frozen ? target.get()::condemn : target.get()::kill);
    guest.endpoints().switchBack();
    if (!ordered) {
      return new RolledBack(reason);
    }
    if (guestIsOff()) {
      return new RolledBack(reason.problem() == Problem.REPLACE_OFF ? reason : poweredOff());
    }
    if (!harmless && source.ended()) {
      return new Failed(Problem.REPLACE_LOST.because(reason.detail(), reason));
    }
    if (!harmless) {
      undead = target;
      return new RolledBack(
          Problem.REPLACE_STANDS.because(
              reason.detail()
                  + " The new hypervisor, process "
                  + target.map(Instance::pid).orElse(0)
                  + ", cannot be ended yet; when it has ended without having run the guest, the old"
                  + " one goes on.",
              reason));
    }
    Optional<Boolean> ran = target.isEmpty() ? Optional.of(false) : targetRan(frozen);
    if (ran.isEmpty() || ran.get()) {
      return source.ended()
          ? new Failed(Problem.REPLACE_LOST.because(reason.detail(), reason))
          : new RolledBack(
              Problem.REPLACE_DOUBT.because(
                  reason.detail() + " " + (ran.isPresent() ? Hosting.RAN : Hosting.MAY_HAVE_RUN),
                  reason));
    }
    return takeBack(reason);
  }

  /// Whether the guest asked for its end. Its hypervisor, if it is there, then only waits.
  private boolean guestIsOff() {
    if (asked.isEmpty() || !(asked.get() instanceof InstanceEvent.PoweredOff)) {
      return false;
    }
    Contained.run("ending the source of " + id, () -> source.end(END_LIMIT));
    return true;
  }

  /// A source that lives is never given up: it alone holds the guest's state.
  private ReplacementState takeBack(HyperFreshException reason) {
    try {
      source.takeBack();
      return new RolledBack(reason);
    } catch (RuntimeException | VirtualMachineError | LinkageError | AssertionError e) {
      String why = e instanceof HyperFreshException known ? known.detail() : String.valueOf(e);
      return source.ended()
          ? new Failed(Problem.REPLACE_LOST.because(why, e))
          : new RolledBack(Problem.REPLACE_STANDS.because(reason.detail() + " " + why, e));
    }
  }

  /// The guest runs on the target. Ends the source and collects the figures; nothing of that can
  /// change where the guest runs, so no step of it keeps the next from being done.
  private ReplacementState retire(Committed committed) {
    Instance now = committed.target();
    guest.adopt(now);
    lowerPriority();
    leaveGate();
    long resumed = world.nanos();
    OptionalLong faults =
        Contained.get("counting the faults of " + id, now::pageFaults, OptionalLong.empty());
    long beats = watch.map(Pulse.Watch::beats).orElse(0L);
    long stateBytes = Contained.get("counting the state of " + id, now::stateBytes, 0L);
    Contained.run("writing the commit of " + id, () -> write(committed));
    awaitStopped();
    stood(now, committed.resumedMicros());
    // Whoever runs the guest and what its clocks have lost by that are written down at once.
    Contained.run("writing down " + guest.spec().name(), () -> guest.writeDown(Optional.empty()));
    handOverMs = stoppedMicros.isPresent() ? (stoppedMicros.getAsLong() - orderedMicros) / 1e3 : 0;
    progress.step("Committed", "the guest runs on " + to.name());
    long begin = world.nanos();
    OptionalLong ramBytesCopied =
        Contained.get("asking the source of " + id, source::ramBytesCopied, OptionalLong.empty());
    endSource();
    double retireMs = millisSince(begin);
    if (watch.isPresent()) {
      world.pause(Math.max(0, resumed + AFTER_NANOS - world.nanos()));
    }
    aftermath = aftermath(now, resumed, faults, beats);
    return retired(committed, ramBytesCopied, stateBytes, retireMs);
  }

  private Aftermath aftermath(Instance now, long since, OptionalLong faultsThen, long beatsThen) {
    OptionalLong faults =
        Contained.get("counting the faults of " + id, now::pageFaults, OptionalLong.empty());
    double seconds = (world.nanos() - since) / 1e9;
    return new Aftermath(
        watch.isPresent() && watch.get().quietBeatsPerSecond() > 0
            ? OptionalDouble.of(
                100
                    - 100
                        * ((watch.get().beats() - beatsThen)
                            / seconds
                            / watch.get().quietBeatsPerSecond()))
            : OptionalDouble.empty(),
        faults.isPresent() && faultsThen.isPresent()
            ? OptionalLong.of(faults.getAsLong() - faultsThen.getAsLong())
            : OptionalLong.empty());
  }

  private void endSource() {
    boolean gone =
        Contained.run("ending the source of " + id, () -> source.end(END_LIMIT))
            || Contained.run("killing the source of " + id, source::kill);
    if (!gone) {
      // The ports stay as they are, since the old process still has its queues.
      return;
    }
    Contained.run("closing the source of " + id, source::close);
    Contained.run("keeping the ports of " + guest.spec().name(), guest.endpoints()::keep);
  }

  private Retired retired(
      Committed committed, OptionalLong ramBytesCopied, long stateBytes, double retireMs) {
    OptionalDouble blackoutMs =
        stoppedMicros.isPresent() && committed.resumedMicros().isPresent()
            ? OptionalDouble.of(
                (committed.resumedMicros().getAsLong() - stoppedMicros.getAsLong()) / 1e3)
            : OptionalDouble.empty();
    lastReports();
    committed.resumedMicros().ifPresent(this::divide);
    ReplacementRecord record =
        record(blackoutMs, ramBytesCopied, stateBytes, retireMs, "committed", "", "");
    closeWatch();
    return new Retired(record);
  }

  /// What the source reported at last, after the target's RESUME: one that has ended has reported
  /// all.
  private void lastReports() {
    for (InstanceEvent event : List.copyOf(guest.mailbox())) {
      if (!isOfSource(event)) {
        continue;
      }
      switch (event) {
        case InstanceEvent.HandOverSent sent -> sentMicros = OptionalLong.of(sent.atMicros());
        case InstanceEvent.PoweredOff _, InstanceEvent.Reset _ -> ask(event);
        case InstanceEvent.Stopped _,
            InstanceEvent.Resumed _,
            InstanceEvent.HandOverFailed _,
            InstanceEvent.Answering _,
            InstanceEvent.Changed _,
            InstanceEvent.Ended _ -> {}
      }
    }
  }

  /// Divides the blackout where the source had sent everything. The clocks of two machines agree
  /// only so far, so that it may seem to have come outside of the blackout.
  private void divide(long resumedMicros) {
    if (stoppedMicros.isEmpty() || sentMicros.isEmpty()) {
      return;
    }
    long stopped = stoppedMicros.getAsLong();
    long sent = Math.clamp(sentMicros.getAsLong(), stopped, Math.max(stopped, resumedMicros));
    saveMs = OptionalDouble.of((sent - stopped) / 1e3);
    loadMs = OptionalDouble.of((resumedMicros - sent) / 1e3);
  }

  /// The two hypervisors report on channels of their own, so the source's STOP can be read after
  /// the target's RESUME. A source that has ended reports no more.
  private void awaitStopped() {
    long deadline = world.nanos() + STOP_REPORT_NANOS;
    while (stoppedMicros.isEmpty() && !sourceEnded) {
      InstanceEvent event = next(deadline);
      if (event == null) {
        return;
      }
      if (!isOfSource(event)) {
        kept.add(event);
      } else if (event instanceof InstanceEvent.PoweredOff
          || event instanceof InstanceEvent.Reset) {
        ask(event);
      } else if (event instanceof InstanceEvent.Stopped stop) {
        stoppedMicros = OptionalLong.of(stop.atMicros());
      } else if (event instanceof InstanceEvent.HandOverSent sent) {
        sentMicros = OptionalLong.of(sent.atMicros());
      } else if (event instanceof InstanceEvent.Ended) {
        sourceEnded = true;
      }
    }
  }

  private ReplacementRecord unsuccessful(String outcome, HyperFreshException reason) {
    return record(
        OptionalDouble.empty(),
        OptionalLong.of(0),
        0,
        0,
        outcome,
        reason.problem().code(),
        reason.detail());
  }

  private ReplacementRecord record(
      OptionalDouble blackoutMs,
      OptionalLong ramBytesCopied,
      long stateBytes,
      double retireMs,
      String outcome,
      String problem,
      String detail) {
    boolean committed = outcome.equals("committed");
    return new ReplacementRecord(
        id,
        guest.spec().name(),
        to.kind(),
        source.release().name(),
        to.name(),
        guest.accelerator().accelerator().label(),
        startedAt,
        blackoutMs,
        committed ? millis(watch.map(Pulse.Watch::gapNanos)) : OptionalDouble.empty(),
        committed ? millis(watch.map(Pulse.Watch::floorNanos)) : OptionalDouble.empty(),
        watch.map(Pulse.Watch::wentBack).orElse(false),
        aftermath,
        ramBytesCopied,
        stateBytes,
        new ReplacementRecord.Phases(
            planMs, prepareMs, handOverMs, saveMs, loadMs, rollBackMs, retireMs),
        millisSince(start),
        outcome,
        problem,
        detail,
        new ReplacementRecord.Parts(source.release().parts(), to.parts()),
        outcome.equals("failed")
            ? ReplacementRecord.Clocks.UNKNOWN
            : ReplacementRecord.Clocks.lost(clockLostMs));
  }

  private static OptionalDouble millis(Optional<Long> nanos) {
    return nanos.isPresent() ? OptionalDouble.of(nanos.get() / 1e6) : OptionalDouble.empty();
  }

  private void closeWatch() {
    watch.ifPresent(open -> Contained.run("ending the observation of " + id, open::close));
    watch = Optional.empty();
  }

  private static String name(ReplacementState state) {
    return state.getClass().getSimpleName();
  }

  private void write(ReplacementState state) {
    world.write(
        new Journal.Entry(
            Instant.now(),
            id,
            guest.spec().name(),
            name(state),
            source.generation(),
            toGeneration,
            to.name()));
  }

  private double millisSince(long nanos) {
    return (world.nanos() - nanos) / 1e6;
  }
}
