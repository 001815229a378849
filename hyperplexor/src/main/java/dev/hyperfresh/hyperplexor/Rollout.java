package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
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

/// Moves many guests, or many containers: which are moved, in which order, and when to stop. Each
/// is moved by itself, on its own thread; this class only waits for them, on virtual threads.
///
/// What cannot move is left alone and keeps nobody. The first one that could and did not arrive
/// stops the rollout: those in flight end, no other one is started. Nothing of a rollout is
/// remembered: what is left to do is seen from where they are, so the same order given again moves
/// what is left.
///
/// @param <R> the record of one move
public final class Rollout<R> {
  /// The most that one rollout moves at a time.
  public static final int MAX_PARALLEL = 64;

  /// The longest time that canaries are watched.
  public static final Duration MAX_SOAK = Duration.ofHours(24);

  /// The longest time within which a rollout may be asked to begin every move.
  public static final Duration MAX_WITHIN = Duration.ofDays(7);

  /// One at a time, with nobody watched.
  public static final Pace ONE_BY_ONE = new Pace(1, 0, Duration.ZERO);

  private static final long LOOK_NANOS = 1_000_000_000;

  /// After so many looks at those that are watched the client is told again, which shows whether it
  /// is still there.
  private static final int LOOKS_A_WORD = 10;

  private final Movers<R> movers;
  private final Pace pace;
  private final Audience audience;
  private final Map<String, Entry<R>> entries = new LinkedHashMap<>();
  private volatile Optional<String> stopped = Optional.empty();
  private final long begun = System.nanoTime();

  /// How fast it goes.
  ///
  /// @param parallel how many are moved at a time, 1 to [#MAX_PARALLEL]
  /// @param canary how many are moved first and watched before the rest
  /// @param soak how long the first ones are watched, at most [#MAX_SOAK]
  /// @param within the time after which no move is begun any more, at most [#MAX_WITHIN]
  public record Pace(int parallel, int canary, Duration soak, Optional<Duration> within) {
    /// One that takes the time that it needs.
    public Pace(int parallel, int canary, Duration soak) {
      this(parallel, canary, soak, Optional.empty());
    }

    /// What of it is out of range; empty when nothing is.
    public List<String> faults() {
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
      if (within.filter(Pace::isNoTime).isPresent()) {
        faults.add("within is not between 1 ms and " + MAX_WITHIN.toDays() + " days");
      }
      return faults;
    }

    private static boolean isNoTime(Duration within) {
      return within.toMillis() < 1 || within.compareTo(MAX_WITHIN) > 0;
    }
  }

  /// What a rollout moves, and how. Called by several threads.
  ///
  /// @param <R> the record of one move
  public interface Movers<R> {
    /// What one of them is: `Guest`, say.
    String noun();

    /// The name of the place that they are to move to.
    String to();

    /// Whether they were named one by one, so that one that is left alone is a miss.
    boolean named();

    /// Everything in question, each with what it would come to: [Outcome#MOVABLE], [Outcome#THERE]
    /// or [Outcome#LEFT_ALONE]. Touches nothing.
    ///
    /// @throws HyperFreshException when one was named that is not there
    List<Entry<R>> look(Audience audience);

    /// Moves one; returns also when it was not moved, and the entry says so.
    ///
    /// @throws HyperFreshException when there is no record of it
    Entry<R> move(Entry<R> entry, Progress progress);

    /// Whether that exception says that nothing was touched.
    boolean isUntouched(HyperFreshException e);

    /// Why one that was moved is not there any more, or nothing when it is.
    Optional<HyperFreshException> ended(String name);

    /// What is wrong with one that was moved, or empty.
    String fault(Entry<R> entry);

    /// What its move came to, in a few words.
    String summary(R record);
  }

  /// Who asked for the rollout.
  @FunctionalInterface
  public interface Audience {
    /// Listens to nothing and never leaves.
    Audience NONE = (_, _, _) -> true;

    /// Told of a step of one, or of all when `name` is empty; called by several threads.
    ///
    /// @return false when nobody listens any more
    boolean told(String name, String state, String text);
  }

  /// How it stands with one of them.
  public enum Outcome {
    /// It could move; only a plan says so.
    MOVABLE,
    /// It is there already.
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

  /// One of a rollout.
  ///
  /// @param from where it was, or empty when it was nowhere
  /// @param record of its move, if there was one
  /// @param problem the catalogue's code of what kept it, or empty
  /// @param detail what kept it, or empty
  public record Entry<R>(
      String name,
      String from,
      Outcome outcome,
      Optional<R> record,
      String problem,
      String detail) {
    /// One of which nothing more is to be said.
    public static <R> Entry<R> of(String name, String from, Outcome outcome) {
      return new Entry<>(name, from, outcome, Optional.empty(), "", "");
    }

    /// The same with another outcome, and why.
    public Entry<R> because(Outcome other, HyperFreshException reason) {
      return new Entry<>(name, from, other, record, reason.problem().code(), reason.detail());
    }

    private Entry<R> with(Outcome other, String why) {
      return new Entry<>(name, from, other, record, problem, why);
    }
  }

  /// A rollout that is over, or a plan of one.
  ///
  /// @param to where they were to move
  /// @param named whether they were named one by one
  /// @param stopped why not all were moved that could be, if so
  /// @param entries every one in question, in the order of the rollout
  public record Result<R>(
      String to, boolean named, Optional<String> stopped, List<Entry<R>> entries) {
    /// Copies the entries.
    public Result {
      entries = List.copyOf(entries);
    }

    /// Those that are not where they were asked to be, and should be: that failed, or were named
    /// and are left alone.
    public List<Entry<R>> misses() {
      return entries.stream()
          .filter(entry ->
              switch (entry.outcome()) {
                case ROLLED_BACK, SOAK_FAILED, FAILED -> true;
                case LEFT_ALONE, NOT_STARTED -> named;
                case MOVABLE, THERE, COMMITTED -> false;
              })
          .toList();
    }
  }

  /// @throws HyperFreshException [Problem#API_REQUEST] when the pace is out of range
  public Rollout(Movers<R> movers, Pace pace, Audience audience) {
    this.movers = movers;
    this.pace = pace;
    this.audience = audience;
    List<String> faults = pace.faults();
    if (!faults.isEmpty()) {
      throw Problem.API_REQUEST.because(String.join("; ", faults) + ".");
    }
  }

  /// Looks at everything in question and touches nothing.
  ///
  /// @throws HyperFreshException when one was named that is not there
  public Result<R> plan() {
    movers.look(audience).forEach(this::put);
    return result();
  }

  /// Moves what can be moved.
  ///
  /// @throws HyperFreshException as [#plan]; nothing was touched then
  public Result<R> run() {
    var _ = plan();
    List<String> movable =
        entries.values().stream()
            .filter(entry -> entry.outcome() == Outcome.MOVABLE)
            .map(Entry::name)
            .toList();
    int first = Math.min(pace.canary(), movable.size());
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
  private void settle(String name) {
    Entry<R> entry = entry(name);
    if (entry.outcome() == Outcome.MOVABLE) {
      put(entry.with(Outcome.NOT_STARTED, stopped.orElse("")));
    }
  }

  /// A guest that was moved and has ended while others were moved did not arrive.
  private void lookAgain(String name) {
    Entry<R> entry = entry(name);
    if (entry.outcome() == Outcome.COMMITTED) {
      movers
          .ended(name)
          .ifPresent(reason -> {
            put(entry.because(Outcome.FAILED, reason));
            var _ = audience.told(name, Outcome.FAILED.label(), reason.detail());
          });
    }
  }

  /// Each of the threads takes the next guest when it has done with one.
  private void moveAll(List<String> guests) {
    ConcurrentLinkedQueue<String> left = new ConcurrentLinkedQueue<>(guests);
    int threads = Math.min(pace.parallel(), guests.size());
    try (ExecutorService workers =
        Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("hf-rollout-", 1).factory())) {
      List<Future<?>> ends = new ArrayList<>();
      for (int i = 0; i < threads; i++) {
        ends.add(workers.submit(() -> moveNext(left)));
      }
      ends.forEach(this::join);
    }
  }

  /// The guests that are being moved are moved to the end, also when this thread is interrupted; no
  /// further one is begun then.
  private void join(Future<?> end) {
    try {
      end.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      stop("The daemon ends.");
    } catch (java.util.concurrent.ExecutionException e) {
      throw Problem.unexpected(e.getCause());
    }
  }

  private void moveNext(ConcurrentLinkedQueue<String> left) {
    for (String name = left.poll(); name != null && goesOn(name); name = left.poll()) {
      move(name);
    }
  }

  /// Asked before each guest, because a client that has gone shows only when it is told something.
  private boolean goesOn(String name) {
    if (stopped.isPresent()) {
      return false;
    }
    if (pace.within().filter(within -> System.nanoTime() - begun > within.toNanos()).isPresent()) {
      stop("The time within which it was to begin is over.");
      return false;
    }
    if (!audience.told(name, "Planned", "its turn")) {
      stop("The client has gone.");
      return false;
    }
    return true;
  }

  private void move(String name) {
    try {
      Entry<R> moved =
          movers.move(
              entry(name),
              (state, text) -> {
                var _ = audience.told(name, state, text);
              });
      put(moved);
      if (moved.outcome() != Outcome.COMMITTED) {
        stop(called(name) + ": " + moved.outcome().label() + ".");
      }
      var _ =
          audience.told(
              name,
              moved.outcome().label(),
              moved.record().map(movers::summary).orElse(moved.detail()));
    } catch (HyperFreshException e) {
      refused(name, e);
    }
  }

  /// Refused before it was touched, or a defect.
  private void refused(String name, HyperFreshException e) {
    if (e.problem() == Problem.DAEMON_UPGRADING) {
      stop("A newer daemon takes over; give that daemon the same command.");
      return;
    }
    boolean untouched = movers.isUntouched(e);
    Outcome outcome = untouched ? Outcome.LEFT_ALONE : Outcome.FAILED;
    put(entry(name).because(outcome, e));
    if (!untouched) {
      stop(called(name) + ": " + e.detail());
    }
    var _ = audience.told(name, outcome.label(), e.detail());
  }

  private String called(String name) {
    return movers.noun() + " " + name;
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
        canaries.stream().filter(name -> entry(name).outcome() == Outcome.COMMITTED).toList();
    long end = System.nanoTime() + pace.soak().toNanos();
    for (int looks = 0; stopped.isEmpty() && !moved.isEmpty(); looks++) {
      if (looks == 0) {
        tellOfSoak(moved.size(), "for " + seconds(pace.soak()));
      }
      moved.forEach(this::judge);
      long left = end - System.nanoTime();
      if (left <= 0 || stopped.isPresent()) {
        return;
      }
      if (looks > 0 && looks % LOOKS_A_WORD == 0) {
        tellOfSoak(moved.size(), "for another " + left / LOOK_NANOS + " s");
      }
      if (Thread.currentThread().isInterrupted()) {
        stop("The daemon ends.");
      }
      LockSupport.parkNanos(Math.min(left, LOOK_NANOS));
    }
  }

  private void tellOfSoak(int count, String time) {
    if (!audience.told("", "soak", "watching " + count + " " + time)) {
      stop("The client has gone.");
    }
  }

  private static String seconds(Duration duration) {
    return duration.toMillis() / 1000.0 + " s";
  }

  private void judge(String name) {
    Entry<R> entry = entry(name);
    String fault = movers.fault(entry);
    if (!fault.isEmpty()) {
      put(entry.with(Outcome.SOAK_FAILED, fault));
      stop(called(name) + " was moved, but failed while it was watched: " + fault);
      var _ = audience.told(name, Outcome.SOAK_FAILED.label(), fault);
    }
  }

  private synchronized Entry<R> entry(String name) {
    @Nullable Entry<R> entry = entries.get(name);
    if (entry == null) {
      throw new IllegalArgumentException(name + " is not of this rollout");
    }
    return entry;
  }

  private synchronized void put(Entry<R> entry) {
    entries.put(entry.name(), entry);
  }

  private synchronized Result<R> result() {
    return new Result<>(movers.to(), movers.named(), stopped, List.copyOf(entries.values()));
  }
}
