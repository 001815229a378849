package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.RunState;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/// Which instance runs a guest, and whether it may be continued. All rules about that are here, for
/// the daemon that moved the guest and for the one that finds it later; the simulation runs this
/// very code. For the guest's thread.
///
/// - One instance has the guest. It is continued by itself only when the hand-over stopped it and
///   nobody else has run the guest since.
/// - When somebody may have, the guest is in **doubt**. That is written down before anything else
///   and survives every restart; no daemon continues such a guest, only [#resume] does. It is over
///   when the guest runs.
/// - A target that could not be ended is watched, and the source waits for its end. A source that
///   could not be ended is watched, too, and the guest is not moved before it has.
/// - An instance whose process lives is never given up.
final class Hosting {
  /// Far more events than any honest hypervisor has waiting.
  private static final int MOST_AT_ONCE = 20_000;

  static final String OFF = "powered off by itself";
  private static final String RESET = "was reset, and its policy is to stop then";

  private final Hosted home;

  /// Events that came before those in the mailbox.
  private final Deque<InstanceEvent> earlier = new ArrayDeque<>();

  private @Nullable Instance instance;
  private Standing standing = new Standing.No();
  private boolean poweredOff;

  /// Whether it was reset and ends for that.
  private boolean reset;

  /// A target, or the source before the one that has the guest, that could not be ended yet,
  /// whatever has become of the guest since.
  private @Nullable Instance undead;

  private Optional<Written> written = Optional.empty();

  /// What is on disk.
  private record Written(int running, OptionalInt waiting, Optional<String> doubt) {}

  Hosting(Hosted home) {
    this.home = home;
  }

  /// The instance that has the guest, or null.
  @Nullable Instance instance() {
    return instance;
  }

  /// Whether the guest stands in doubt.
  Optional<String> doubt() {
    return standing instanceof Standing.Doubt doubt ? Optional.of(doubt.why()) : Optional.empty();
  }

  /// Why no replacement of the guest may begin, whatever its hypervisor says: it stands, and its
  /// hypervisor may still have an order of an earlier hand-over before it; or it is about to end.
  Optional<String> hindrance() {
    return unsettled().or(() -> Optional.of("has " + OFF).filter(_ -> poweredOff));
  }

  /// Why it is not settled that its instance alone has the guest, if it is not.
  Optional<String> unsettled() {
    Instance target = undead;
    return target == null
        ? Optional.of(detail()).filter(why -> !why.isEmpty()).map(why -> "is " + why)
        : Optional.of(
            "has another hypervisor, process " + target.pid() + ", which could not be ended yet");
  }

  /// Why the guest stands although its hypervisor lives, or empty.
  String detail() {
    return standing.detail();
  }

  /// `next` has the guest from now on and runs it.
  void adopt(Instance next) {
    instance = next;
    standing = new Standing.No();
    poweredOff = false;
    reset = false;
  }

  /// Forgets the instance, which goes on unless it has ended.
  @Nullable Instance letGo() {
    Instance current = instance;
    instance = null;
    return current;
  }

  /// Writes down who has the guest, and who is about to.
  void write(Optional<Instance> waiting) {
    Instance current = instance;
    if (current == null) {
      return;
    }
    // An old source is no target: whoever finds it ends it.
    Optional<Instance> other =
        waiting.or(() -> Optional.ofNullable(undead).filter(left -> !isSource(left)));
    Written next =
        new Written(
            current.generation(),
            other.map(w -> OptionalInt.of(w.generation())).orElse(OptionalInt.empty()),
            doubt());
    written = Optional.empty();
    home.write(current, other, doubt());
    written = Optional.of(next);
  }

  /// As [#write] with nobody waiting, unless that is on disk.
  private void writeIfChanged() {
    Instance current = instance;
    if (current != null
        && !written.equals(
            Optional.of(new Written(current.generation(), OptionalInt.empty(), doubt())))) {
      write(Optional.empty());
    }
  }

  /// Takes note of events that came before those in the mailbox.
  void heard(List<InstanceEvent> events) {
    earlier.addAll(events);
  }

  private @Nullable InstanceEvent next() {
    InstanceEvent event = earlier.poll();
    return event == null ? home.mailbox().poll() : event;
  }

  // ---- after a replacement ----

  /// A replacement is over and the instance runs the guest, unless that ended meanwhile.
  ///
  /// @param other a hypervisor of the guest that could not be ended, if there is one
  void goOn(Optional<Instance> other) {
    other.ifPresent(left -> undead = left);
    goOn();
  }

  private void goOn() {
    standing = new Standing.No();
    Contained.run("recording " + home.name(), this::writeIfChanged);
    settle();
    showIfRunning();
  }

  /// The instance lives and does not go on for now.
  ///
  /// @param target one that may have run the guest and could not be ended, if there is one
  void stand(String why, Optional<Instance> target) {
    // What is written down stays: it names the target, and from that the next daemon decides anew.
    undead = target.orElse(null);
    standing = target.isPresent() ? new Standing.Blocked(why) : new Standing.Waits(why);
    home.publish(GuestView.State.RUNNING, detail());
    settle();
  }

  /// Somebody may have run the guest since its instance stopped.
  void stayInDoubt(String why) {
    standing = new Standing.Doubt(why);
    // What is written down names the target until now, so a disk that is full hides no doubt.
    Contained.run("recording the doubt of " + home.name(), () -> write(Optional.empty()));
    home.publish(GuestView.State.RUNNING, detail());
    settle();
  }

  /// What the guest had asked of its old hypervisor when that had stopped it, and could not do any
  /// more.
  void carryOut(InstanceEvent asked) {
    Instance current = instance;
    if (current == null) {
      return;
    }
    switch (asked) {
      case InstanceEvent.PoweredOff _ -> {
        poweredOff = Contained.run("powering off " + home.name(), current::kill);
        settle();
      }
      case InstanceEvent.Reset _ -> Contained.run("resetting " + home.name(), current::reset);
      case InstanceEvent.Stopped _,
          InstanceEvent.Resumed _,
          InstanceEvent.HandOverFailed _,
          InstanceEvent.HandOverSent _,
          InstanceEvent.Answering _,
          InstanceEvent.Changed _,
          InstanceEvent.Ended _ -> {}
    }
  }

  // ---- after a restart of the daemon ----

  /// Takes over `survivor`, the only process of the guest that is left, and continues the guest
  /// when that is certain to be right.
  ///
  /// @param waiting a target that was prepared and is gone now
  /// @param ran whether that one has run the guest; empty when nobody knows
  /// @param written a doubt that an earlier daemon wrote down
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it does not say how it stands; nothing
  ///   was changed
  void takeBack(
      Instance survivor, boolean waiting, Optional<Boolean> ran, Optional<String> written) {
    RunState state = survivor.runState();
    instance = survivor;
    if (state.isLive()) {
      if (waiting) {
        continueSurvivor(survivor);
      } else {
        goOn();
      }
    } else if (written.isPresent()) {
      stayInDoubt(written.get());
    } else if (waiting && ran.isPresent() && !ran.get()) {
      continueSurvivor(survivor);
    } else if (state.hasSent()) {
      stayInDoubt(waiting && ran.isPresent() ? RAN : MAY_HAVE_RUN);
    } else {
      goOn();
    }
  }

  static final String RAN =
      "the target ran it and is gone; `guest resume` resumes it on the source, with memory that has"
          + " changed since";
  static final String MAY_HAVE_RUN =
      "the target had its state, may have run it and is gone; `guest resume` resumes it on the"
          + " source, with memory that may have changed since";

  private void continueSurvivor(Instance survivor) {
    try {
      survivor.takeBack();
      goOn();
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.REPLACE_STANDS) {
        throw e;
      }
      stand(e.detail(), Optional.empty());
    }
  }

  // ---- at any time outside a replacement ----

  /// Continues a guest that stands, and wakes one that sleeps; clears a doubt. Does nothing to one
  /// that runs.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_STANDS] when it still does not go on,
  ///   [Problem#REPLACE_LOST] when its hypervisor has ended, [Problem#GUEST_STATE] when a guest in
  ///   this state cannot go on
  void resume(Instance current) {
    boolean wasBlocked = standing instanceof Standing.Blocked;
    settle();
    if (wasBlocked) {
      requireUnblocked();
    }
    RunState state = current.runState();
    switch (state.resume()) {
      case NOTHING -> {}
      case WAKE -> current.wake();
      case CONTINUE -> {
        // A hand-over that is not over yet would stop the guest again.
        if (state.hasSent()) {
          current.takeBack();
        }
        // Also of one that goes on by then: what another one has of the guest counts no more.
        current.resume();
      }
      case REFUSED ->
          throw Problem.GUEST_STATE.because("It is " + state.label() + ". " + state.advice());
    }
    goOn();
  }

  private void requireUnblocked() {
    Instance target = undead;
    if (standing instanceof Standing.Blocked && target != null) {
      throw Problem.REPLACE_STANDS.because(
          "Process " + target.pid() + ", which may run the guest, has not ended yet.");
    }
    if (standing instanceof Standing.Doubt doubt) {
      throw Problem.REPLACE_DOUBT.because("This was found just now: " + doubt.why() + ".");
    }
  }

  /// Takes note of what happened by itself.
  void settle() {
    boolean changed = false;
    int looks = 0;
    for (InstanceEvent event = next(); event != null; event = next()) {
      changed |= settle(event);
      if (++looks == MOST_AT_ONCE) {
        // Whoever floods has the rest looked at when others have had their turn.
        break;
      }
    }
    if (changed) {
      showIfRunning();
    }
  }

  private boolean settle(InstanceEvent event) {
    Instance current = instance;
    if (current == null) {
      return false;
    }
    if (event.generation() != current.generation()) {
      unblock(event, current);
      return false;
    }
    home.stood(event);
    switch (event) {
      case InstanceEvent.Ended ended -> release(ended.reason());
      case InstanceEvent.PoweredOff _ -> {
        poweredOff = true;
        home.publish(GuestView.State.RUNNING, OFF);
        return false;
      }
      case InstanceEvent.Answering _ -> continueWaiting(current);
      case InstanceEvent.Resumed _ -> {
        poweredOff = false;
        noLongerStanding();
      }
      case InstanceEvent.Reset _ -> reset = home.endsAtReset();
      case InstanceEvent.Changed _,
          InstanceEvent.Stopped _,
          InstanceEvent.HandOverFailed _,
          InstanceEvent.HandOverSent _ -> {}
    }
    return true;
  }

  /// Whoever continued it, it runs.
  private void noLongerStanding() {
    if (!(standing instanceof Standing.No)) {
      standing = new Standing.No();
      Contained.run("recording " + home.name(), () -> write(Optional.empty()));
    }
  }

  private void continueWaiting(Instance current) {
    if (standing instanceof Standing.Waits) {
      Contained.run(
          "continuing " + home.name(),
          () -> {
            current.takeBack();
            noLongerStanding();
          });
    }
  }

  /// The hypervisor that could not be ended has ended. Where the source waits for a target, what
  /// that left behind says whether it ran the guest.
  private void unblock(InstanceEvent event, Instance current) {
    Instance left = undead;
    if (left == null
        || !(event instanceof InstanceEvent.Ended)
        || event.generation() != left.generation()) {
      return;
    }
    letGoOfUndead();
    if (isSource(left)) {
      var _ = Addresses.take(home.name(), () -> current);
    }
    if (!(standing instanceof Standing.Blocked blocked)) {
      Contained.run("recording " + home.name(), this::writeIfChanged);
      return;
    }
    Optional<Boolean> ran = home.hasRun(event.generation());
    if (ran.isPresent() && !ran.get()) {
      standing = new Standing.Waits(blocked.why());
      continueWaiting(current);
      showIfRunning();
    } else {
      stayInDoubt(ran.isPresent() ? RAN : MAY_HAVE_RUN);
    }
  }

  private void letGoOfUndead() {
    Instance left = undead;
    undead = null;
    if (left != null) {
      boolean source = isSource(left);
      Contained.run("freeing ports of " + home.name(), () -> home.undeadGone(source));
      Contained.run("closing an old hypervisor of " + home.name(), left::close);
    }
  }

  /// Whether it ran the guest before the instance that has it.
  private boolean isSource(Instance other) {
    Instance current = instance;
    return current != null && other.generation() < current.generation();
  }

  /// Whether no other hypervisor of the guest is left. One that could not be ended is waited for
  /// once more.
  boolean isAlone() {
    Instance left = undead;
    if (left != null && Contained.run("ending process " + left.pid(), left::kill)) {
      letGoOfUndead();
    }
    return undead == null;
  }

  /// Shows how the guest stands, as its hypervisor says now.
  private void showIfRunning() {
    Instance current = instance;
    if (current != null) {
      home.publish(GuestView.State.RUNNING, words(current));
    }
  }

  private String words(Instance current) {
    if (poweredOff) {
      return OFF;
    }
    return standing instanceof Standing.No ? state(current) : detail();
  }

  private static String state(Instance current) {
    return Contained.get(
        "asking for the guest's run state",
        () -> {
          try {
            RunState state = current.runState();
            return state == RunState.RUNNING ? "" : state.label();
          } catch (HyperFreshException unanswered) {
            // That it does not answer is noticed by whoever needs an answer.
            return "";
          }
        },
        "");
  }

  // ---- the end ----

  /// A replacement found that neither side runs the guest. A process that is there all the same may
  /// hold the guest's state, so it is left and the guest stands.
  void giveUp(String detail) {
    Instance current = instance;
    if (current != null && !current.ended()) {
      stayInDoubt(detail);
      return;
    }
    release(detail);
  }

  /// The process of the instance is gone, and nobody had asked for that but maybe the guest.
  private void release(String reason) {
    if (standing instanceof Standing.Doubt || standing instanceof Standing.Blocked) {
      release(GuestEnd.DOUBT, reason + GuestEnd.IN_DOUBT);
    } else if (reset) {
      release(GuestEnd.REBOOT, RESET);
    } else if (poweredOff) {
      release(GuestEnd.POWER_OFF, OFF);
    } else {
      release(GuestEnd.CRASH, reason);
    }
  }

  /// The process of the instance is gone.
  void release(GuestEnd end, String detail) {
    Instance current = instance;
    if (current != null) {
      Contained.run("closing an instance of " + home.name(), current::close);
    }
    // It was killed long ago, and dies when the kernel lets it.
    letGoOfUndead();
    instance = null;
    standing = new Standing.No();
    Contained.run("recording the end of " + home.name(), () -> home.gone(end, detail));
    home.publish(GuestView.State.STOPPED, detail);
  }
}
