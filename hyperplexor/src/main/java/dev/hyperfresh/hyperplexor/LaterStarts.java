package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.Optional;

/// Whether and how a guest is started again, and whether that may be now. For the guest's thread.
final class LaterStarts {
  static final String BY_REQUEST = "stopped by request";

  private final Guest guest;
  private final GuestFacts facts;
  private final Hosting hosting;

  LaterStarts(Guest guest, GuestFacts facts, Hosting hosting) {
    this.guest = guest;
    this.facts = facts;
    this.hosting = hosting;
  }

  /// What is known of the guest.
  GuestFacts facts() {
    return facts;
  }

  private String name() {
    return facts.identity().name();
  }

  /// Whether something runs it.
  ///
  /// @throws HyperFreshException [Problem#GUEST_STATE] when it stands on a hypervisor that is
  ///   there: a start would lose what that holds
  boolean runs() {
    if (hosting.instance() == null) {
      return false;
    }
    requireNoDoubt();
    if (!hosting.detail().isEmpty()) {
      throw Problem.GUEST_STATE.because(
          "Guest " + name() + " is " + hosting.detail() + ". It has not ended.");
    }
    return true;
  }

  /// @throws HyperFreshException [Problem#GUEST_STATE] when somebody may have run it since its
  ///   hypervisor stopped it
  void requireNoDoubt() {
    hosting
        .doubt()
        .ifPresent(why -> {
          throw Problem.GUEST_STATE.because(
              "Guest "
                  + name()
                  + " is in doubt: "
                  + why
                  + ". It is not started before you have resumed or stopped it.");
        });
  }

  /// Why it is to be started though nobody has asked for it, unless somebody stops it before.
  Optional<StartReason> wanted() {
    return facts.wanted();
  }

  void want(StartReason why) {
    facts.want(Optional.of(why));
  }

  /// It is started, or is not to be any more.
  void wantNothing() {
    facts.want(Optional.empty());
  }

  /// Whether nothing runs it because somebody wanted that, as [GuestEnd#isWanted] has it.
  boolean isOffAsWanted() {
    return facts.end().filter(end -> end.isWanted(guest.spec().ends())).isPresent();
  }

  /// Whether it is started when the host has booted.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]; nothing is changed then
  void autostart(boolean on) {
    if (!on && wanted().equals(Optional.of(StartReason.AUTOSTART))) {
      wantNothing();
    }
    keep(() -> facts.upkeep(facts.upkeep().autostart(on)));
  }

  /// It has ended, and somebody wants it to stay so.
  void stayStopped() {
    boolean known = facts.end().equals(Optional.of(GuestEnd.REQUEST));
    if (wanted().isPresent() || facts.isDue() || !known) {
      endFor(GuestEnd.REQUEST, BY_REQUEST);
    }
  }

  /// It was started often enough.
  void giveUp(String why) {
    endFor(GuestEnd.GIVEN_UP, why);
  }

  private void endFor(GuestEnd end, String why) {
    facts.want(Optional.empty());
    Contained.run("recording " + name(), () -> facts.ended(end, why));
    guest.publish(GuestView.State.STOPPED, why);
  }

  /// Changes what is written down for its later starts. Whatever runs it is not touched.
  ///
  /// @param change of the facts
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when that is not possible; nothing is
  ///   changed then
  void keep(Runnable change) {
    facts.wholly(() -> {
      change.run();
      if (hosting.instance() == null) {
        facts.writeStopped();
      } else {
        facts.rewrite();
      }
    });
    guest.publish(guest.view().state(), guest.view().detail());
  }

  /// It did not start, and is as it was before.
  void notStarted(String why) {
    if (hosting.instance() != null && !Contained.run("ending " + name(), guest::end)) {
      guest.publish(GuestView.State.RUNNING, why);
      return;
    }
    Contained.run("recording " + name(), facts::writeStopped);
    guest.publish(GuestView.State.STOPPED, facts.why() + "; not started: " + why);
  }
}
