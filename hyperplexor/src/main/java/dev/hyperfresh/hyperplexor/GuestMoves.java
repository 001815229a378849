package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;

/// Moves guests: dry runs, replacements and rollouts. Thread-safe.
final class GuestMoves {
  private final GuestTable guests;
  private final Plans plans;
  private final Traffic traffic;
  private final Surroundings host;

  /// Held by a replacement while it rehearses.
  private final Lock rehearsal = new ReentrantLock(true);

  /// Held while memory is copied: each copy finds its memory free, and takes a core.
  private final Lock copying = new ReentrantLock(true);

  private final AtomicBoolean rollingOut = new AtomicBoolean();
  private final AtomicLong lastId = new AtomicLong(System.currentTimeMillis());
  private volatile boolean ending;

  /// @param traffic counts what a newer daemon waits for
  GuestMoves(
      GuestTable guests, Plans plans, Traffic traffic, Journal journal, WatchTimes watchTimes) {
    this.guests = guests;
    this.plans = plans;
    this.traffic = traffic;
    SwitchGate gate = SwitchGate.forCores(Runtime.getRuntime().availableProcessors());
    this.host = new Surroundings.OfHost(journal, gate, watchTimes);
  }

  /// As [Hyperplexor#plan].
  List<Check> plan(
      String name,
      Release to,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Progress progress) {
    Guest guest = guests.get(name);
    Preflight preflight = new Preflight(guest, to, rehearsing, plans.rehearsing(), progress);
    return plans.run(name, () -> checks(guest, preflight, guest.call(preflight::seen), stepClock));
  }

  private static List<Check> checks(
      Guest guest, Preflight preflight, Preflight.Seen seen, boolean stepClock) {
    List<Check> checks = new ArrayList<>(preflight.checks(seen));
    new WallClock(guest.spec()).check(seen.running(), stepClock).ifPresent(checks::add);
    return checks;
  }

  /// The same for whoever is about to move the guest: it waits for no dry run.
  private List<Check> look(
      String name,
      Release to,
      Preflight.Rehearsing rehearsing,
      boolean stepClock,
      Progress progress) {
    Guest guest = guests.get(name);
    Preflight preflight = new Preflight(guest, to, rehearsing, rehearsal, progress);
    try (Hyperplexor.Work _ = plans.giveWay(name)) {
      return guest.call(() -> checks(guest, preflight, preflight.seen(), stepClock));
    }
  }

  /// As [Hyperplexor#replace].
  ReplacementRecord replace(
      String name,
      Release to,
      Duration maxBlackout,
      boolean rehearse,
      boolean stepClock,
      Progress progress) {
    Guest guest = guests.get(name);
    BlackoutLimit limit = new BlackoutLimit(maxBlackout);
    String id = nextId();
    Preflight.Rehearsing rehearsing =
        rehearse ? Preflight.Rehearsing.ONCE : Preflight.Rehearsing.LEFT_OUT;
    try (Hyperplexor.Work _ = traffic.begin();
        Hyperplexor.Work _ = plans.giveWay(name)) {
      return guest.replace(id, to, limit, rehearsing, stepClock, rehearsal, host, progress);
    }
  }

  /// Moves a guest that is being adopted, and copies its memory, when no other copy is under way.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#REPLACE_OBSTACLES]; nothing was
  ///   touched; [Problem#ADOPT_COPY], and as [Progress#requireWanted], when it was given up before
  ///   its turn
  ReplacementRecord copy(Guest guest, Release to, MemoryCopy limits, Progress progress) {
    CopyOrder order = new CopyOrder(limits, () -> ending);
    awaitTurn(progress);
    try {
      return copy(guest, to, order, progress);
    } finally {
      copying.unlock();
    }
  }

  private void awaitTurn(Progress progress) {
    try {
      if (copying.tryLock(0, TimeUnit.SECONDS)) {
        return;
      }
      progress.step("copy", "waiting for another copy");
      while (!ending) {
        progress.requireWanted();
        if (copying.tryLock(1, TimeUnit.SECONDS)) {
          return;
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    throw Problem.ADOPT_COPY.because("The daemon ends, and another copy came first.");
  }

  private ReplacementRecord copy(Guest guest, Release to, CopyOrder order, Progress progress) {
    Preflight preflight =
        new Preflight(guest, to, Preflight.Rehearsing.ONCE, rehearsal, progress, true);
    return guest.call(() ->
        new Replacement(
                nextId(),
                guest,
                to,
                order.blackout(),
                host,
                preflight::require,
                progress,
                Optional.of(order))
            .run());
  }

  /// Gives up every copy that is under way; the guests run on where they are.
  void endCopies() {
    ending = true;
  }

  private String nextId() {
    return Long.toString(lastId.incrementAndGet(), 36);
  }

  /// As [Hyperplexor#rollOut].
  ///
  /// @param all lists and shows guests
  Rollout.Result<ReplacementRecord> rollOut(
      Hyperplexor all,
      GuestRollout.Order order,
      GuestRollout.Mover mover,
      Rollout.Audience audience) {
    if (!rollingOut.compareAndSet(false, true)) {
      throw Problem.ROLLOUT_BUSY.because("It must end before another one can begin.");
    }
    try {
      return new Rollout<>(
              new GuestRollout(all, guests, this::look, mover, order), order.pace(), audience)
          .run();
    } finally {
      rollingOut.set(false);
    }
  }

  /// As [Hyperplexor#planRollout].
  ///
  /// @param all lists and shows guests
  Rollout.Result<ReplacementRecord> planRollout(Hyperplexor all, GuestRollout.Order order) {
    return new Rollout<>(
            new GuestRollout(all, guests, this::plan, GuestRollout.Mover.NONE, order),
            order.pace(),
            Rollout.Audience.NONE)
        .plan();
  }
}
