package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.Rollout.Audience;
import dev.hyperfresh.hyperplexor.Rollout.Entry;
import dev.hyperfresh.hyperplexor.Rollout.Outcome;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;

/// Guests as a [Rollout] moves them: each by a replacement of its own.
public final class GuestRollout implements Rollout.Movers<ReplacementRecord> {
  /// How often a heartbeat is looked for before it counts as standing still; one look that finds
  /// none takes 0.2 s.
  private static final int BEAT_LOOKS = 10;

  /// How long a guest may take to power off when its heart has stopped.
  private static final Duration LEAVING = Duration.ofSeconds(10);

  private static final Duration LOOK_AGAIN = Duration.ofMillis(100);

  private final Hyperplexor hyperplexor;
  private final GuestTable guests;
  private final Look look;
  private final Mover mover;
  private final Order order;

  /// What is to be done.
  ///
  /// @param names the guests, or none for all
  /// @param to the release that they are to run on
  /// @param from only guests that run on one of these releases; full names
  /// @param pace how fast
  /// @param maxBlackout as in [Hyperplexor#replace]
  /// @param rehearse as in [Hyperplexor#replace]
  /// @param stepClock as in [Hyperplexor#replace]
  public record Order(
      List<String> names,
      Release to,
      Optional<Set<String>> from,
      Rollout.Pace pace,
      Duration maxBlackout,
      boolean rehearse,
      boolean stepClock) {
    /// Copies the names.
    ///
    /// @throws HyperFreshException [Problem#API_REQUEST] with all that is out of range
    public Order {
      names = names.stream().distinct().toList();
      List<String> faults = new ArrayList<>(pace.faults());
      faults.addAll(BlackoutLimit.faults(maxBlackout));
      if (!faults.isEmpty()) {
        throw Problem.API_REQUEST.because(String.join("; ", faults) + ".");
      }
    }
  }

  /// Makes one replacement, as [Hyperplexor#replace] does.
  @FunctionalInterface
  public interface Mover {
    /// For a plan, which moves nothing.
    Mover NONE =
        (guest, _, _) -> {
          throw Problem.GUEST_STATE.because("Guest " + guest + " must not be moved.");
        };

    /// Returns when the replacement is over.
    ReplacementRecord move(String guest, Duration maxBlackout, Progress progress);
  }

  /// Looks at one guest, as [Hyperplexor#plan] does.
  @FunctionalInterface
  interface Look {
    List<Check> at(
        String guest,
        Release to,
        Preflight.Rehearsing rehearsing,
        boolean stepClock,
        Progress progress);
  }

  /// @param hyperplexor lists and shows guests
  /// @param guests the same ones
  GuestRollout(Hyperplexor hyperplexor, GuestTable guests, Look look, Mover mover, Order order) {
    this.hyperplexor = hyperplexor;
    this.guests = guests;
    this.look = look;
    this.mover = mover;
    this.order = order;
  }

  @Override
  public String noun() {
    return "Guest";
  }

  @Override
  public String to() {
    return order.to().name();
  }

  @Override
  public boolean named() {
    return !order.names().isEmpty();
  }

  @Override
  public List<Entry<ReplacementRecord>> look(Audience audience) {
    List<Entry<ReplacementRecord>> entries = new ArrayList<>();
    for (GuestView view : inQuestion()) {
      entries.add(look(view, audience));
    }
    return entries;
  }

  private List<GuestView> inQuestion() {
    if (!order.names().isEmpty()) {
      return order.names().stream().map(hyperplexor::show).toList();
    }
    return hyperplexor.list().stream().filter(view -> isFrom(view) || isThere(view)).toList();
  }

  private boolean isFrom(GuestView view) {
    return order.from().map(from -> from.contains(view.release())).orElse(true);
  }

  private boolean isThere(GuestView view) {
    return view.release().equals(order.to().name());
  }

  private Entry<ReplacementRecord> look(GuestView view, Audience audience) {
    if (view.state() != GuestView.State.RUNNING) {
      Problem problem =
          view.state() == GuestView.State.REPLACING ? Problem.REPLACE_BUSY : Problem.GUEST_STATE;
      return leftAlone(view, problem.because("It is " + describe(view) + "."));
    }
    if (isThere(view)) {
      return entry(view, Outcome.THERE);
    }
    if (!isFrom(view)) {
      return leftAlone(view, Problem.GUEST_STATE.because("It runs on " + view.release() + "."));
    }
    try {
      List<Check> failed = Preflight.failures(checks(view.spec().name(), audience));
      return failed.isEmpty()
          ? entry(view, Outcome.MOVABLE)
          : leftAlone(view, Problem.REPLACE_OBSTACLES.because(Preflight.sentences(failed)));
    } catch (HyperFreshException kept) {
      if (Thread.currentThread().isInterrupted()) {
        throw kept;
      }
      return leftAlone(view, kept);
    }
  }

  private static String describe(GuestView view) {
    String state = view.state().name().toLowerCase(Locale.ROOT);
    return view.detail().isEmpty() ? state : state + " (" + view.detail() + ")";
  }

  /// Guests of one shape share a rehearsal.
  private List<Check> checks(String guest, Audience audience) {
    return look.at(
        guest,
        order.to(),
        order.rehearse() ? Preflight.Rehearsing.ONCE : Preflight.Rehearsing.LEFT_OUT,
        order.stepClock(),
        (state, text) -> {
          var _ = audience.told(guest, state, text);
        });
  }

  private static Entry<ReplacementRecord> entry(GuestView view, Outcome outcome) {
    return Entry.of(view.spec().name(), view.release(), outcome);
  }

  private static Entry<ReplacementRecord> leftAlone(GuestView view, HyperFreshException reason) {
    return entry(view, Outcome.LEFT_ALONE).because(Outcome.LEFT_ALONE, reason);
  }

  @Override
  public Entry<ReplacementRecord> move(Entry<ReplacementRecord> entry, Progress progress) {
    ReplacementRecord record = mover.move(entry.name(), order.maxBlackout(), progress);
    Outcome outcome =
        switch (record.outcome()) {
          case COMMITTED -> Outcome.COMMITTED;
          case ROLLED_BACK -> Outcome.ROLLED_BACK;
          case FAILED -> Outcome.FAILED;
        };
    return new Entry<>(
        record.guest(),
        record.from(),
        outcome,
        Optional.of(record),
        record.problem(),
        record.detail());
  }

  @Override
  public boolean isUntouched(HyperFreshException e) {
    return switch (e.problem()) {
      case REPLACE_OBSTACLES, REPLACE_BUSY, GUEST_STATE, GUEST_UNKNOWN -> true;
      default -> false;
    };
  }

  @Override
  public Optional<HyperFreshException> ended(String guest) {
    try {
      GuestView view = hyperplexor.show(guest);
      return view.state() == GuestView.State.STOPPED && !isAsWanted(guest)
          ? Optional.of(
              Problem.REPLACE_LOST.because("It was moved and is now " + describe(view) + "."))
          : Optional.empty();
    } catch (HyperFreshException deleted) {
      return Optional.empty();
    }
  }

  /// Whether a guest that does not run, or did not a moment ago, is as somebody wants it: off, or
  /// started again since. Waits for what is being done to it.
  private boolean isAsWanted(String name) {
    Guest guest = guests.get(name);
    return guest.call(() -> {
      GuestView view = guest.view();
      return switch (view.state()) {
        case STOPPED -> guest.laterStarts().isOffAsWanted();
        case RUNNING -> isThere(view) && view.starts().inARow() == 0;
        case STARTING, RECOVERING, REPLACING -> false;
      };
    });
  }

  @Override
  public String summary(ReplacementRecord record) {
    if (record.guestGapMs().isPresent()) {
      return String.format(Locale.ROOT, "heartbeat gap %.2f ms", record.guestGapMs().getAsDouble());
    }
    return record.blackoutMs().isPresent()
        ? String.format(Locale.ROOT, "blackout %.2f ms", record.blackoutMs().getAsDouble())
        : record.problem() + " " + record.detail();
  }

  private static boolean hadHeartbeat(Entry<ReplacementRecord> entry) {
    return entry.record().flatMap(r -> r.guestGapMs().stream().boxed().findFirst()).isPresent();
  }

  @Override
  public String fault(Entry<ReplacementRecord> entry) {
    String guest = entry.name();
    try {
      GuestView view = hyperplexor.show(guest);
      if (view.state() != GuestView.State.RUNNING || !isThere(view)) {
        return isAsWanted(guest) ? "" : "It is " + describe(view) + " on " + view.release() + ".";
      }
      String stood = stoodTooLong(entry);
      if (!stood.isEmpty()) {
        return stood;
      }
      return hadHeartbeat(entry) && !beats(guest) && !leaves(guest)
          ? "Its heartbeat has stopped."
          : "";
    } catch (HyperFreshException e) {
      return e.problem() == Problem.GUEST_UNKNOWN ? "" : e.detail();
    }
  }

  /// Whether a guest whose heart has stopped is about to be off as somebody wants it: that is so
  /// some time before it is off.
  private boolean leaves(String guest) {
    long end = System.nanoTime() + LEAVING.toNanos();
    while (System.nanoTime() < end && !Thread.currentThread().isInterrupted()) {
      if (hyperplexor.show(guest).state() != GuestView.State.RUNNING) {
        return isAsWanted(guest);
      }
      LockSupport.parkNanos(LOOK_AGAIN.toNanos());
    }
    return false;
  }

  /// The hypervisors' own account is held against the budget during the switch. What the guest felt
  /// is known only afterwards, and then keeps the others from feeling it.
  private String stoodTooLong(Entry<ReplacementRecord> entry) {
    double gapMs = entry.record().map(r -> r.guestGapMs().orElse(0)).orElse(0.0);
    return gapMs > order.maxBlackout().toMillis()
        ? String.format(
            Locale.ROOT,
            "Its heartbeat stood still for %.0f ms, longer than the budget of %d ms.",
            gapMs,
            order.maxBlackout().toMillis())
        : "";
  }

  private boolean beats(String guest) {
    for (int look = 0; look < BEAT_LOOKS; look++) {
      if (hyperplexor.hasHeartbeat(guest)) {
        return true;
      }
    }
    return false;
  }
}
