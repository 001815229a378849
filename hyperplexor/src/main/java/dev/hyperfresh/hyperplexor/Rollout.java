package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/// The replacement of many guests' hypervisors: which guests move, in which order, and when to
/// stop. Each guest is moved by a replacement of its own, on its own thread; this class only waits
/// for them, on virtual threads.
///
/// A guest that cannot move is left alone and keeps nobody. The first one that could and did not
/// arrive stops the rollout: guests in flight end, no other one is started. Nothing of a rollout is
/// remembered: what is left to do is seen from where the guests are, so the same order given again
/// moves what is left.
public final class Rollout {
  /// The most guests that one rollout moves at a time.
  public static final int MAX_PARALLEL = 64;

  /// The longest time that canaries are watched.
  public static final Duration MAX_SOAK = Duration.ofHours(24);

  private static final long LOOK_NANOS = 1_000_000_000;

  /// How often a heartbeat is looked for before it counts as standing still; one look that finds
  /// none takes 0.2 s.
  private static final int BEAT_LOOKS = 10;

  private final Hyperplexor hyperplexor;
  private final Look look;
  private final Mover mover;
  private final Order order;
  private final Audience audience;
  private final Map<String, Entry> entries = new LinkedHashMap<>();
  private volatile Optional<String> stopped = Optional.empty();

  /// What is to be done.
  ///
  /// @param names the guests, or none for all
  /// @param to the release that they are to run on
  /// @param from only guests that run on this release; a full name
  /// @param parallel how many guests are moved at a time, 1 to [#MAX_PARALLEL]
  /// @param canary how many guests are moved first and watched before the rest
  /// @param soak how long the first ones are watched, at most [#MAX_SOAK]
  /// @param maxBlackout as in [Hyperplexor#replace]
  /// @param rehearse as in [Hyperplexor#replace]
  /// @param stepClock as in [Hyperplexor#replace]
  public record Order(
      List<String> names,
      Release to,
      Optional<String> from,
      int parallel,
      int canary,
      Duration soak,
      Duration maxBlackout,
      boolean rehearse,
      boolean stepClock) {
    /// Copies the names.
    ///
    /// @throws HyperFreshException [Problem#API_REQUEST] with all that is out of range
    public Order {
      names = names.stream().distinct().toList();
      List<String> faults = new ArrayList<>();
      if (parallel < 1 || parallel > MAX_PARALLEL) {
        faults.add("parallel is not between 1 and " + MAX_PARALLEL);
      }
      if (canary < 0) {
        faults.add("canary is below 0");
      }
      if (soak.isNegative() || soak.compareTo(MAX_SOAK) > 0) {
        faults.add("soak is not between 0 and " + MAX_SOAK.toHours() + " hours");
      }
      if (maxBlackout.compareTo(Hyperplexor.MIN_BLACKOUT) < 0
          || maxBlackout.compareTo(Hyperplexor.MAX_BLACKOUT) > 0) {
        faults.add("the blackout budget is not between 1 and 60000 ms");
      }
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
          throw Problem.GUEST_STATE.because("Guest " + guest + " is not to be moved.");
        };

    /// Returns when the replacement is over.
    ReplacementRecord move(String guest, Duration maxBlackout, Progress progress);
  }

  /// Who asked for the rollout.
  @FunctionalInterface
  public interface Audience {
    /// Listens to nothing and never leaves.
    Audience NONE = (_, _, _) -> true;

    /// Told of a step of a guest, or of all when `guest` is empty; called by several threads.
    ///
    /// @return false when nobody listens any more
    boolean told(String guest, String state, String text);
  }

  /// How it stands with a guest.
  public enum Outcome {
    /// It could move; only a plan says so.
    MOVABLE,
    /// It runs on the release already.
    THERE,
    /// It was moved.
    COMMITTED,
    /// It was not moved and runs as before.
    ROLLED_BACK,
    /// It was moved as one of the first, and did not stand the watch.
    SOAK_FAILED,
    /// It was lost.
    FAILED,
    /// It cannot be moved now, and was not touched.
    LEFT_ALONE,
    /// The rollout stopped before it.
    NOT_STARTED;

    /// The name in the API: lower case, with hyphens.
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /// One guest of a rollout.
  ///
  /// @param from the release that it ran on, or empty when it ran on none
  /// @param record of its replacement, if there was one
  /// @param problem the catalogue's code of what kept it, or empty
  /// @param detail what kept it, or empty
  public record Entry(
      String guest,
      String from,
      Outcome outcome,
      Optional<ReplacementRecord> record,
      String problem,
      String detail) {
    private static Entry of(GuestView view, Outcome outcome) {
      return new Entry(view.spec().name(), view.release(), outcome, Optional.empty(), "", "");
    }

    private static Entry leftAlone(GuestView view, HyperFreshException reason) {
      return of(view, Outcome.LEFT_ALONE).because(Outcome.LEFT_ALONE, reason);
    }

    private Entry because(Outcome outcome, HyperFreshException reason) {
      return new Entry(guest, from, outcome, record, reason.problem().code(), reason.detail());
    }

    private Entry with(Outcome outcome, String detail) {
      return new Entry(guest, from, outcome, record, problem, detail);
    }

    private static Entry of(ReplacementRecord record) {
      Outcome outcome =
          switch (record.outcome()) {
            case "committed" -> Outcome.COMMITTED;
            case "rolled-back" -> Outcome.ROLLED_BACK;
            default -> Outcome.FAILED;
          };
      return new Entry(
          record.guest(),
          record.from(),
          outcome,
          Optional.of(record),
          record.problem(),
          record.detail());
    }
  }

  /// A rollout that is over, or a plan of one.
  ///
  /// @param named whether the guests were named and not found
  /// @param stopped why not all guests were moved that could be, if so
  /// @param guests every guest in question, in the order of the rollout
  public record Result(Release to, boolean named, Optional<String> stopped, List<Entry> guests) {
    /// The guests that are not where they were asked to be, and should be: those that failed, and
    /// those that were named and are left alone.
    public List<Entry> misses() {
      return guests.stream()
          .filter(entry ->
              switch (entry.outcome()) {
                case ROLLED_BACK, SOAK_FAILED, FAILED -> true;
                case LEFT_ALONE, NOT_STARTED -> named;
                case MOVABLE, THERE, COMMITTED -> false;
              })
          .toList();
    }
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

  Rollout(Hyperplexor hyperplexor, Look look, Mover mover, Order order, Audience audience) {
    this.hyperplexor = hyperplexor;
    this.look = look;
    this.mover = mover;
    this.order = order;
    this.audience = audience;
  }

  /// Looks at every guest in question and touches none.
  ///
  /// @throws HyperFreshException [Problem#GUEST_UNKNOWN] when one was named that is not there
  Result plan() {
    for (GuestView view : inQuestion()) {
      entries.put(view.spec().name(), look(view));
    }
    return result();
  }

  private List<GuestView> inQuestion() {
    if (!order.names().isEmpty()) {
      return order.names().stream().map(hyperplexor::show).toList();
    }
    String from = order.from().orElse("");
    return hyperplexor.list().stream()
        .filter(view -> from.isEmpty() || view.release().equals(from) || isThere(view))
        .toList();
  }

  private boolean isThere(GuestView view) {
    return view.release().equals(order.to().name());
  }

  private Entry look(GuestView view) {
    if (view.state() != GuestView.State.RUNNING) {
      Problem problem =
          view.state() == GuestView.State.REPLACING ? Problem.REPLACE_BUSY : Problem.GUEST_STATE;
      return Entry.leftAlone(view, problem.because("It is " + describe(view) + "."));
    }
    if (isThere(view)) {
      return Entry.of(view, Outcome.THERE);
    }
    if (order.from().isPresent() && !order.from().get().equals(view.release())) {
      return Entry.leftAlone(
          view, Problem.GUEST_STATE.because("It runs on " + view.release() + "."));
    }
    try {
      List<Check> failed = Preflight.failures(checks(view.spec().name()));
      return failed.isEmpty()
          ? Entry.of(view, Outcome.MOVABLE)
          : Entry.leftAlone(view, Problem.REPLACE_OBSTACLES.because(Preflight.sentences(failed)));
    } catch (HyperFreshException kept) {
      if (Thread.currentThread().isInterrupted()) {
        throw kept;
      }
      return Entry.leftAlone(view, kept);
    }
  }

  private static String describe(GuestView view) {
    String state = view.state().name().toLowerCase(Locale.ROOT);
    return view.detail().isEmpty() ? state : state + " (" + view.detail() + ")";
  }

  /// Guests of one shape share a rehearsal.
  private List<Check> checks(String guest) {
    return look.at(
        guest,
        order.to(),
        order.rehearse() ? Preflight.Rehearsing.ONCE : Preflight.Rehearsing.LEFT_OUT,
        order.stepClock(),
        (state, text) -> {
          var _ = audience.told(guest, state, text);
        });
  }

  /// Moves what can be moved.
  Result run() {
    var _ = plan();
    List<String> movable =
        entries.values().stream()
            .filter(entry -> entry.outcome() == Outcome.MOVABLE)
            .map(Entry::guest)
            .toList();
    int first = Math.min(order.canary(), movable.size());
    if (first > 0) {
      List<String> canaries = movable.subList(0, first);
      moveAll(canaries);
      soak(canaries);
    }
    moveAll(movable.subList(first, movable.size()));
    movable.forEach(this::settle);
    movable.forEach(this::lookAgain);
    return result();
  }

  /// What could move and was not even tried stays behind because the rollout stopped.
  private void settle(String guest) {
    Entry entry = entry(guest);
    if (entry.outcome() == Outcome.MOVABLE) {
      put(entry.with(Outcome.NOT_STARTED, stopped.orElse("")));
    }
  }

  /// A guest that was moved and has ended while others were moved did not arrive.
  private void lookAgain(String guest) {
    Entry entry = entry(guest);
    if (entry.outcome() == Outcome.COMMITTED) {
      ended(guest)
          .ifPresent(reason -> {
            put(entry.because(Outcome.FAILED, reason));
            var _ = audience.told(guest, "failed", reason.detail());
          });
    }
  }

  private Optional<HyperFreshException> ended(String guest) {
    try {
      GuestView view = hyperplexor.show(guest);
      return view.state() == GuestView.State.STOPPED
          ? Optional.of(
              Problem.REPLACE_LOST.because("It was moved, and is " + describe(view) + " now."))
          : Optional.empty();
    } catch (HyperFreshException deleted) {
      return Optional.empty();
    }
  }

  /// Each of the threads takes the next guest when it has done with one.
  private void moveAll(List<String> guests) {
    ConcurrentLinkedQueue<String> left = new ConcurrentLinkedQueue<>(guests);
    int threads = Math.min(order.parallel(), guests.size());
    try (ExecutorService workers =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("hf-rollout-", 1).factory())) {
      List<Future<?>> ends = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        ends.add(workers.submit(() -> moveNext(left)));
      }
      ends.forEach(Rollout::join);
    }
  }

  private static void join(Future<?> end) {
    try {
      end.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (java.util.concurrent.ExecutionException e) {
      throw Problem.INTERNAL.because(String.valueOf(e.getCause()), e);
    }
  }

  private void moveNext(ConcurrentLinkedQueue<String> left) {
    for (String guest = left.poll(); guest != null && goesOn(guest); guest = left.poll()) {
      move(guest);
    }
  }

  /// Asked before each guest, because a client that has gone shows only when it is told something.
  private boolean goesOn(String guest) {
    if (stopped.isPresent()) {
      return false;
    }
    if (!audience.told(guest, "Planned", "its turn")) {
      stop("The client has gone.");
      return false;
    }
    return true;
  }

  private void move(String guest) {
    try {
      ReplacementRecord record =
          mover.move(
              guest,
              order.maxBlackout(),
              (state, text) -> {
                var _ = audience.told(guest, state, text);
              });
      put(Entry.of(record));
      if (!record.committed()) {
        stop("Guest " + guest + ": " + record.outcome() + ".");
      }
      var _ = audience.told(guest, record.outcome(), summary(record));
    } catch (HyperFreshException e) {
      refused(guest, e);
    }
  }

  private static String summary(ReplacementRecord record) {
    return record.blackoutMs().isPresent()
        ? String.format(Locale.ROOT, "blackout %.2f ms", record.blackoutMs().getAsDouble())
        : record.problem() + " " + record.detail();
  }

  /// Refused before it was touched, or a defect.
  private void refused(String guest, HyperFreshException e) {
    if (e.problem() == Problem.DAEMON_UPGRADING) {
      stop("A newer daemon takes over; give the same order to that one.");
      return;
    }
    boolean untouched =
        switch (e.problem()) {
          case REPLACE_OBSTACLES, REPLACE_BUSY, GUEST_STATE, GUEST_UNKNOWN -> true;
          default -> false;
        };
    put(entry(guest).because(untouched ? Outcome.LEFT_ALONE : Outcome.FAILED, e));
    if (!untouched) {
      stop("Guest " + guest + ": " + e.detail());
    }
    var _ = audience.told(guest, untouched ? "left-alone" : "failed", e.detail());
  }

  private synchronized void stop(String why) {
    if (stopped.isEmpty()) {
      stopped = Optional.of(why);
    }
  }

  /// Watches the guests that were moved first: each must stay on the new release, and one that had
  /// a heartbeat before must have one all the time.
  private void soak(List<String> canaries) {
    List<String> moved =
        canaries.stream().filter(guest -> entry(guest).outcome() == Outcome.COMMITTED).toList();
    long end = System.nanoTime() + order.soak().toNanos();
    boolean told =
        moved.isEmpty()
            || audience.told(
                "", "soak", "watching " + moved.size() + " for " + seconds(order.soak()));
    if (!told) {
      stop("The client has gone.");
    }
    while (stopped.isEmpty() && !moved.isEmpty()) {
      moved.forEach(this::judge);
      long left = end - System.nanoTime();
      if (left <= 0 || stopped.isPresent()) {
        return;
      }
      if (Thread.currentThread().isInterrupted()) {
        stop("The daemon ends.");
      }
      LockSupport.parkNanos(Math.min(left, LOOK_NANOS));
    }
  }

  private static String seconds(Duration duration) {
    return duration.toMillis() / 1000.0 + " s";
  }

  private void judge(String guest) {
    String fault = fault(guest, hadHeartbeat(entry(guest)));
    if (!fault.isEmpty()) {
      put(entry(guest).with(Outcome.SOAK_FAILED, fault));
      stop("Guest " + guest + " was moved and did not stand the watch: " + fault);
      var _ = audience.told(guest, "soak-failed", fault);
    }
  }

  private static boolean hadHeartbeat(Entry entry) {
    return entry.record().flatMap(r -> r.guestGapMs().stream().boxed().findFirst()).isPresent();
  }

  private String fault(String guest, boolean beating) {
    try {
      GuestView view = hyperplexor.show(guest);
      if (view.state() != GuestView.State.RUNNING || !isThere(view)) {
        return "It is " + describe(view) + " on " + view.release() + ".";
      }
      return beating && !beats(guest) ? "Its heartbeat stands still." : "";
    } catch (HyperFreshException e) {
      return e.detail();
    }
  }

  private boolean beats(String guest) {
    for (int look = 0; look < BEAT_LOOKS; look++) {
      if (hyperplexor.hasHeartbeat(guest)) {
        return true;
      }
    }
    return false;
  }

  private synchronized Entry entry(String guest) {
    @Nullable Entry entry = entries.get(guest);
    if (entry == null) {
      throw new IllegalArgumentException(guest + " is not a guest of this rollout");
    }
    return entry;
  }

  private synchronized void put(Entry entry) {
    entries.put(entry.guest(), entry);
  }

  private synchronized Result result() {
    return new Result(order.to(), !order.names().isEmpty(), stopped, List.copyOf(entries.values()));
  }
}
