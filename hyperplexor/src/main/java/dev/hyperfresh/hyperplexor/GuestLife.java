package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// Has guests started without anybody asking for it: after a boot of the host those with autostart,
/// in the order of their names, and at any time those that have ended and whose policy says so.
/// Until [#begin] it only takes note of them. Thread-safe.
///
/// A start that fails is tried again, as an end is followed by a start: later each time, and only
/// [#MOST] times in a row. After a boot there is no such limit, since a guest's disks and networks
/// may come late: it is tried at least once a minute.
final class GuestLife implements AutoCloseable {
  /// So often a guest is started in a row that has not run for [#WELL].
  static final int MOST = 5;

  /// A guest that has run for so long counts as having started well.
  static final Duration WELL = Duration.ofMinutes(1);

  /// How soon is asked again when a daemon takes no work for a moment, or what the guest runs in is
  /// not up yet.
  private static final Duration AGAIN = Duration.ofSeconds(1);

  private static final Duration FIRST = Duration.ofSeconds(1);
  private static final Duration LONGEST = Duration.ofMinutes(1);
  private static final System.Logger LOG = System.getLogger(GuestLife.class.getName());

  /// Since when guests run that were seen to.
  private final Map<String, Instant> since = new HashMap<>();

  /// Guests whose next start has its time, each with what only the task for that has: a guest that
  /// somebody else starts before is planned anew when it ends.
  private final Map<String, Object> planned = new HashMap<>();

  private Optional<Begun> begun = Optional.empty();

  /// Starts a guest that is wanted, and has it told what comes of it.
  @FunctionalInterface
  interface Starter {
    void start(String guest, StartReason why);
  }

  private record Begun(Pace pace, Starter starter) {}

  /// How long to wait before the next start.
  ///
  /// @param inARow how many there were already
  static Duration delay(int inARow) {
    Duration delay = FIRST.multipliedBy(1L << Math.min(inARow, 10));
    return delay.compareTo(LONGEST) < 0 ? delay : LONGEST;
  }

  /// From now on guests are started.
  ///
  /// @param managed those that there are; others are [#found] or change before they are left out
  void begin(Pace pace, Starter starter, Collection<Guest> managed) {
    begin(new Begun(pace, starter));
    managed.stream()
        .sorted(Comparator.comparing(guest -> guest.spec().name()))
        .forEach(this::found);
  }

  private synchronized void begin(Begun with) {
    begun = Optional.of(with);
  }

  private synchronized boolean hasBegun() {
    return begun.isPresent();
  }

  /// A guest that an earlier daemon left, or that was made before the beginning.
  void found(Guest guest) {
    if (!hasBegun()) {
      return;
    }
    switch (guest.view().state()) {
      case RUNNING, REPLACING -> runsSince(guest.spec().name());
      case STOPPED -> consider(guest);
      case STARTING, RECOVERING -> {}
    }
  }

  private void consider(Guest guest) {
    Contained.run(
        "looking after " + guest.spec().name(),
        () -> {
          var _ =
              guest.call(() -> {
                if (guest.laterStarts().facts().isDue()) {
                  guest.laterStarts().want(StartReason.AUTOSTART);
                }
                plan(guest);
                return true;
              });
        });
  }

  /// Guest's thread: a guest is not what it was.
  void changed(Guest guest) {
    String name = guest.spec().name();
    switch (guest.view().state()) {
      case RUNNING, REPLACING -> runs(name);
      case STOPPED -> {
        if (ranWell(name)) {
          restarts(guest, 0);
        }
        plan(guest);
      }
      case STARTING, RECOVERING -> {}
    }
  }

  private synchronized void runs(String name) {
    planned.remove(name);
    runsSince(name);
  }

  private synchronized void runsSince(String name) {
    begun.ifPresent(with -> since.putIfAbsent(name, with.pace().now()));
  }

  private synchronized boolean ranWell(String name) {
    Instant start = since.remove(name);
    return start != null
        && begun
            .filter(with -> Duration.between(start, with.pace().now()).compareTo(WELL) >= 0)
            .isPresent();
  }

  private static void restarts(Guest guest, int inARow) {
    GuestFacts facts = guest.laterStarts().facts();
    facts.upkeep(facts.upkeep().restarts(inARow));
  }

  /// Guest's thread: decides about the next start of a guest that nothing runs.
  private void plan(Guest guest) {
    LaterStarts later = guest.laterStarts();
    Optional<StartReason> why = later.wanted().or(() -> byPolicy(guest));
    Optional<Begun> with = begunUnplanned(guest.spec().name());
    if (why.isEmpty() || with.isEmpty()) {
      return;
    }
    int inARow = later.facts().upkeep().restarts();
    boolean booting = why.get() == StartReason.AUTOSTART;
    if (inARow >= MOST && !booting) {
      later.giveUp(
          guest.view().detail() + "; not started again, after " + inARow + " starts in a row");
      return;
    }
    Duration delay = booting && inARow == 0 ? Duration.ZERO : delay(inARow);
    later.want(why.get());
    Object ticket = planned(guest.spec().name());
    guest.publish(
        GuestView.State.STOPPED,
        guest.view().detail()
            + "; to be started ("
            + why.get().label()
            + ") in "
            + delay.toSeconds()
            + " s, "
            + (inARow + 1)
            + (booting ? "" : " of " + MOST)
            + " in a row");
    with.get().pace().after(delay, () -> start(guest, ticket, with.get()));
  }

  private static Optional<StartReason> byPolicy(Guest guest) {
    return guest.laterStarts().facts().end().flatMap(end -> end.restart(guest.spec().ends()));
  }

  private synchronized Optional<Begun> begunUnplanned(String name) {
    return begun.filter(_ -> !planned.containsKey(name));
  }

  private synchronized Object planned(String name) {
    Object ticket = new Object();
    planned.put(name, ticket);
    return ticket;
  }

  private synchronized boolean unplanned(String name, Object ticket) {
    return planned.remove(name, ticket);
  }

  private void start(Guest guest, Object ticket, Begun with) {
    String name = guest.spec().name();
    try {
      Optional<StartReason> why = guest.call(() -> due(guest, ticket));
      if (why.isPresent()) {
        with.starter().start(name, why.get());
      }
    } catch (HyperFreshException e) {
      switch (e.problem()) {
        case DAEMON_UPGRADING, MACHINE_COMING -> {
          Object next = planned(name);
          with.pace().after(AGAIN, () -> start(guest, next, with));
        }
        case GUEST_UNKNOWN -> LOG.log(System.Logger.Level.DEBUG, "guest {0} is gone", name);
        default -> {
          LOG.log(System.Logger.Level.WARNING, "guest {0} did not start: {1}", name, e.detail());
          retry(guest, e.detail());
        }
      }
    }
  }

  /// Guest's thread: why it is to be started now, if it still is.
  private Optional<StartReason> due(Guest guest, Object ticket) {
    return unplanned(guest.spec().name(), ticket) ? guest.laterStarts().wanted() : Optional.empty();
  }

  /// What failed before the guest was asked has not been counted or told yet.
  private void retry(Guest guest, String why) {
    var _ =
        guest.call(() -> {
          boolean told = begunUnplanned(guest.spec().name()).isEmpty();
          if (!told && guest.laterStarts().wanted().isPresent()) {
            count(guest);
            guest.laterStarts().notStarted(why);
          }
          return true;
        });
  }

  /// Guest's thread: one more start that nobody asked for.
  static void count(Guest guest) {
    restarts(guest, guest.laterStarts().facts().upkeep().restarts() + 1);
  }

  /// Guest's thread: it was started after a boot of the host, so that what kept it from that before
  /// does not count.
  static void booted(Guest guest) {
    LaterStarts later = guest.laterStarts();
    if (later.facts().upkeep().restarts() > 1) {
      Contained.run("recording " + guest.spec().name(), () -> later.keep(() -> restarts(guest, 1)));
    }
  }

  /// Guest's thread: somebody starts it, so that earlier starts no longer count.
  static void forget(Guest guest) {
    restarts(guest, 0);
  }

  /// A guest is gone.
  synchronized void deleted(String name) {
    since.remove(name);
    planned.remove(name);
  }

  /// No guest is started any more.
  @Override
  public void close() {
    Optional<Begun> with = end();
    with.ifPresent(ending -> ending.pace().close());
  }

  private synchronized Optional<Begun> end() {
    Optional<Begun> with = begun;
    begun = Optional.empty();
    return with;
  }
}
