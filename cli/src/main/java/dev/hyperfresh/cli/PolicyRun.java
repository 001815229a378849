package dev.hyperfresh.cli;

import dev.hyperfresh.cli.PolicyResult.Guest;
import dev.hyperfresh.cli.PolicyResult.Outcome;
import dev.hyperfresh.daemon.HostQemus;
import dev.hyperfresh.daemon.Policy;
import dev.hyperfresh.daemon.Policy.Step;
import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.daemon.StateLock;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneId;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import tools.jackson.databind.JsonNode;

/// One run of the policy: looks which guests run an older QEMU, and does what the policy says now.
/// The daemon moves them; this only asks it to: for each build that guests are to run, one rollout
/// of the first ones, which are watched, and one of the others. Not thread-safe.
final class PolicyRun {
  /// Of a guest of which a daemon does not know yet which hypervisor has it.
  private static final Set<String> UNSETTLED = Set.of("recovering", "replacing");

  /// A daemon that gives way to a newer one stops a rollout; so often the newer one is asked.
  private static final int MOST_ROUNDS = 4;

  /// A takeover waits up to 2.5 minutes for what is in flight.
  private static final Duration RETURN = Duration.ofMinutes(4);

  private static final Duration LOOK = Duration.ofSeconds(1);

  private final Supplier<Policy> policies;
  private final Path state;
  private final Supplier<Client> daemon;
  private final Function<Map<Integer, HostQemus.Owned>, JsonNode> look;
  private final InstantSource clock;
  private final ZoneId zone;
  private final Progress progress;
  private final Map<String, Guest> guests = new LinkedHashMap<>();

  /// As it was read last.
  private Policy policy;

  /// Exceptions that are no guests.
  private List<String> strangers = List.of();

  /// What an interrupted run left, of which the history says no failure. The daemon may still be
  /// about the last move of that run, and then refuses this one.
  private Optional<PolicyStop> unsettled = Optional.empty();

  private int others;
  private String stopped = "";

  /// When no other guest is begun with any more.
  private Optional<Instant> end = Optional.empty();

  /// Whether the policy has come to say something else.
  private boolean isChanged;

  /// Whether a daemon has ended without a word of how its moves went.
  private boolean isLost;

  /// @param policies reads the policy, which may be another one each time
  /// @param look what `hyperfresh outdated` says, with what a daemon says of its own
  /// @throws HyperFreshException [Problem#POLICY_INVALID]
  PolicyRun(
      Supplier<Policy> policies,
      Path state,
      Supplier<Client> daemon,
      Function<Map<Integer, HostQemus.Owned>, JsonNode> look,
      InstantSource clock,
      ZoneId zone,
      Progress progress) {
    this.policies = policies;
    this.policy = policies.get();
    this.state = state;
    this.daemon = daemon;
    this.look = look;
    this.clock = clock;
    this.zone = zone;
    this.progress = progress;
  }

  /// @param again whether an earlier failure is no hindrance
  /// @throws HyperFreshException [Problem#POLICY_HELD], [Problem#POLICY_RUNNING];
  ///   [Problem#POLICY_INVALID] when an exception is no guest; and when the daemon cannot be asked,
  ///   or refuses
  PolicyResult run(boolean again) {
    if (policy.action() != Policy.Action.REPLACE) {
      return step(again, Optional.empty());
    }
    try (StateLock _ = StateLock.takePolicy(state)) {
      return step(again, before(again));
    }
  }

  private PolicyResult step(boolean again, Optional<PolicyStop> before) {
    Client client = daemon.get();
    List<Guest> old = outdated(client);
    strangers = strangers(policy, client);
    if (policy.action() == Policy.Action.REPLACE && !old.isEmpty()) {
      requireNone(strangers);
    }
    Optional<String> failure = again ? Optional.empty() : failure(before, old);
    return switch (policy.step(!old.isEmpty(), failure, clock.instant(), zone)) {
      case Step.Nothing _ -> result(Outcome.NOTHING);
      case Step.Report _ -> result(Outcome.REPORTED);
      case Step.DryRun _ -> plan(old);
      case Step.Waits waits -> result(Outcome.WAITS, Optional.of(waits.opens()));
      case Step.Held held -> throw Problem.POLICY_HELD.because(held.why());
      case Step.Replace replace -> {
        until(replace);
        Optional<PolicyStop> earlier = before.or(() -> unsettled);
        try (PolicyHold hold = PolicyHold.over(state, clock, earlier, again)) {
          yield replace(old, hold);
        }
      }
    };
  }

  private void until(Step.Replace replace) {
    end = replace.within().map(clock.instant()::plus);
  }

  /// Those among the exceptions that no guest is called: a name that is spelled wrongly would keep
  /// nobody from being moved.
  static List<String> strangers(Policy policy, Client client) {
    Set<String> all =
        client
            .get("/v1/guests")
            .path("guests")
            .valueStream()
            .map(guest -> guest.path("name").asString(""))
            .collect(Collectors.toSet());
    return policy.except().stream().filter(name -> !all.contains(name)).sorted().toList();
  }

  private void requireNone(List<String> names) {
    if (!names.isEmpty()) {
      throw Problem.POLICY_INVALID.because(
          policy.file()
              + ": except: no guest is called "
              + String.join(", ", names)
              + ". No guest is moved before that is corrected.");
    }
  }

  /// Those that are no exceptions; all are remembered. Only the daemon's own word counts, since a
  /// command line says whatever it likes.
  private List<Guest> outdated(Client client) {
    Map<Integer, HostQemus.Owned> owned = OwnQemus.of(client);
    JsonNode answer = look.apply(owned);
    Map<Integer, JsonNode> qemus =
        answer
            .path("qemus")
            .valueStream()
            .collect(Collectors.toMap(qemu -> qemu.path("pid").asInt(), qemu -> qemu));
    List<Guest> own =
        owned.entrySet().stream()
            .filter(entry -> entry.getValue().role().equals(HostQemus.GUEST))
            .sorted(Map.Entry.comparingByKey())
            .map(entry ->
                guest(
                    entry.getValue(),
                    qemus.getOrDefault(entry.getKey(), Output.JSON.missingNode())))
            .filter(guest -> !guest.is("there"))
            .toList();
    others =
        answer.path("outdated").asInt()
            - (int) own.stream().filter(guest -> !guest.to().isEmpty()).count();
    own.stream()
        .map(guest -> isException(guest) ? guest.as(Guest.EXCEPT, "") : guest)
        .forEach(guest -> guests.merge(guest.name(), guest, PolicyRun::later));
    return own.stream()
        .filter(guest -> guest.is(Guest.OUTDATED))
        .filter(guest -> !isException(guest))
        .toList();
  }

  private boolean isException(Guest guest) {
    return policy.except().contains(guest.name());
  }

  /// What is known of a guest is not lost because a later look does not show it.
  private static Guest later(Guest was, Guest is) {
    return is.is(Guest.UNKNOWN) && !was.is(Guest.GONE) ? was : is;
  }

  /// @param qemu what its process shows, which may be nothing
  private static Guest guest(HostQemus.Owned own, JsonNode qemu) {
    String to = qemu.path("to").asString("");
    String known =
        qemu.path("state").asString("unknown").equals("unknown") ? Guest.UNKNOWN : "there";
    return new Guest(
        own.name(),
        own.release(),
        to,
        qemu.path("installed").path("label").asString(""),
        to.isEmpty() ? known : Guest.OUTDATED,
        "",
        Output.JSON.missingNode());
  }

  /// At what an earlier run stopped. What is damaged is gone when somebody has looked.
  private Optional<PolicyStop> before(boolean again) {
    try {
      return PolicyStop.read(state).flatMap(this::settled);
    } catch (HyperFreshException damaged) {
      if (damaged.problem() != Problem.DAEMON_STATE) {
        throw damaged;
      }
      if (again) {
        return Optional.empty();
      }
      throw damaged
          .problem()
          .because(
              damaged.detail() + " `hyperfresh policy apply --again` goes on without it.", damaged);
    }
  }

  private Optional<PolicyStop> settled(PolicyStop stop) {
    if (!stop.wasInterrupted()) {
      return Optional.of(stop);
    }
    unsettled = Optional.of(stop);
    // One that is not there at all is not waited for.
    var _ = daemon.get();
    return PolicyHold.settled(stop, returned(stop.asked().keySet()), state);
  }

  private static Optional<String> failure(Optional<PolicyStop> before, List<Guest> old) {
    Set<String> wanted = old.stream().map(Guest::build).collect(Collectors.toSet());
    return before
        .filter(stop -> stop.builds().stream().anyMatch(wanted::contains))
        .map(stop -> stop.why() + " (" + stop.at() + ")");
  }

  private PolicyResult result(Outcome outcome) {
    return result(outcome, Optional.empty());
  }

  private PolicyResult result(Outcome outcome, Optional<Instant> opens) {
    return new PolicyResult(
        outcome, opens, stopped, List.copyOf(guests.values()), others, strangers);
  }

  private static Map<String, List<Guest>> byTarget(List<Guest> old) {
    return old.stream()
        .collect(Collectors.groupingBy(Guest::to, LinkedHashMap::new, Collectors.toList()));
  }

  private PolicyResult plan(List<Guest> old) {
    byTarget(old)
        .forEach((to, some) ->
            note(
                daemon
                    .get()
                    .post(
                        "/v1/rollouts/plan", order(some, policy.pace().canary(), Optional.empty())),
                some));
    return result(has(Set.of("left-alone")) ? Outcome.IMPOSSIBLE : Outcome.POSSIBLE);
  }

  /// @param some that are to run on the same build
  private Map<String, Object> order(List<Guest> some, int canaries, Optional<Duration> within) {
    Map<String, Object> order = new LinkedHashMap<>();
    order.put("to", some.getFirst().to());
    order.put("guests", some.stream().map(Guest::name).toList());
    order.put("parallel", policy.pace().parallel());
    order.put("canary", canaries);
    order.put("soak_ms", canaries == 0 ? 0 : policy.pace().soak().toMillis());
    order.put("max_blackout_ms", policy.blackout().toMillis());
    within.ifPresent(time -> order.put("within_ms", time.toMillis()));
    return order;
  }

  private PolicyResult replace(List<Guest> first, PolicyHold hold) {
    try {
      boolean isLeft = moveInRounds(first, hold);
      if (has(PolicyHold.FAILED)) {
        hold.stopped(stopped);
        return result(Outcome.FAILED);
      }
      hold.ended();
      return result(isChanged ? Outcome.CHANGED : isLeft ? Outcome.UNFINISHED : finished());
    } catch (HyperFreshException e) {
      // What the daemon refuses changes nothing.
      if (e.problem().httpStatus() / 100 == 4 && !isLost) {
        hold.refused();
      }
      throw e;
    }
  }

  private Outcome finished() {
    return has(Set.of("left-alone")) ? Outcome.FAILED : Outcome.MOVED;
  }

  /// Moves guests until all are moved, one has failed or no other one is to be.
  ///
  /// @return whether some are left
  private boolean moveInRounds(List<Guest> first, PolicyHold hold) {
    List<Guest> old = first;
    for (int round = 1; ; round++) {
      Optional<HyperFreshException> lost = moveAll(old, hold);
      boolean isLeft = has(Set.of(Guest.NOT_STARTED));
      if (lost.isEmpty() && (isOver() || has(PolicyHold.FAILED) || !isLeft)) {
        return isLeft;
      }
      HyperFreshException why = lost.orElseGet(() -> Problem.DAEMON_UPGRADING.because(stopped));
      old = lookAgain(old, hold);
      if (isOver() || has(PolicyHold.FAILED) || old.isEmpty()) {
        return !old.isEmpty();
      }
      if (round == MOST_ROUNDS) {
        throw why;
      }
    }
  }

  private boolean isOver() {
    return isChanged || end.filter(it -> !clock.instant().isBefore(it)).isPresent();
  }

  /// What is left when the daemon answers again. A daemon that ended has not said how it went with
  /// the guest that it was moving; the history does. One that is not outdated any more and was not
  /// moved has ended.
  private List<Guest> lookAgain(List<Guest> asked, PolicyHold hold) {
    Client client = returned(asked.stream().map(Guest::name).toList());
    stopped = "";
    asked.forEach(guest -> guests.put(guest.name(), guest.as(Guest.GONE, "")));
    List<Guest> old = outdated(client);
    for (Guest guest : asked) {
      hold.since(client, guest.name()).ifPresent(record -> note(guest, record));
    }
    return old;
  }

  private void note(Guest guest, JsonNode record) {
    String outcome = record.path("outcome").asString("");
    String why = record.path("problem").asString("") + " " + record.path("detail").asString("");
    guests.put(guest.name(), guest.came(record.path("to").asString(""), outcome, why, record));
    stopAt(guest.name(), outcome);
  }

  /// A failure that the daemon did not stop at is one, too: of a guest that ended later.
  private void stopAt(String guest, String outcome) {
    if (stopped.isEmpty() && PolicyHold.FAILED.contains(outcome)) {
      stopped = PolicyHold.failure(guest, outcome);
    }
  }

  private boolean has(Set<String> outcomes) {
    return guests.values().stream().anyMatch(guest -> outcomes.contains(guest.outcome()));
  }

  /// @return that the daemon has ended meanwhile, if it has
  private Optional<HyperFreshException> moveAll(List<Guest> old, PolicyHold hold) {
    try {
      hold.begin(daemon.get(), old);
      byTarget(old).values().forEach(this::move);
      return Optional.empty();
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.DAEMON_ABSENT && e.problem() != Problem.DAEMON_UPGRADING) {
        throw e;
      }
      isLost = true;
      return Optional.of(e);
    }
  }

  /// The first ones are asked for by themselves, so that for the others what the policy says then
  /// holds.
  private void move(List<Guest> some) {
    Deque<Guest> left = new ArrayDeque<>(some);
    int canaries = policy.pace().canary();
    while (canaries > 0 && !left.isEmpty()) {
      List<Guest> first = next(left, canaries);
      ask(first, canaries);
      canaries -= (int) first.stream().filter(guest -> now(guest).is("committed")).count();
    }
    readAgain(left);
    left.removeIf(guest -> now(guest).is(Guest.EXCEPT));
    if (!left.isEmpty()) {
      ask(List.copyOf(left), 0);
    }
  }

  private static List<Guest> next(Deque<Guest> left, int count) {
    return IntStream.range(0, Math.min(count, left.size())).mapToObj(_ -> left.remove()).toList();
  }

  private Guest now(Guest guest) {
    return guests.getOrDefault(guest.name(), guest);
  }

  /// Has these guests moved, unless something has stopped it.
  private void ask(List<Guest> some, int canaries) {
    Optional<Duration> within = end.map(it -> Duration.between(clock.instant(), it));
    if (!stopped.isEmpty() || within.filter(it -> it.toMillis() < 1).isPresent()) {
      some.forEach(guest -> guests.put(guest.name(), guest.as(Guest.NOT_STARTED, stopped)));
      return;
    }
    note(daemon.get().work("/v1/rollouts", order(some, canaries, within), progress), some);
  }

  /// Reads the policy for the guests that are left. One that moves none now, or that is not valid,
  /// stops the run.
  private void readAgain(Collection<Guest> left) {
    if (left.isEmpty() || !stopped.isEmpty()) {
      return;
    }
    try {
      policy = policies.get();
      strangers = strangers(policy, daemon.get());
      requireNone(strangers);
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.POLICY_INVALID) {
        throw e;
      }
      change(e.detail());
      return;
    }
    if (policy.step(true, Optional.empty(), clock.instant(), zone) instanceof Step.Replace more) {
      until(more);
    } else if (!isOver()) {
      change("The policy has another action or window now.");
    }
    left.stream()
        .filter(this::isException)
        .forEach(guest -> guests.put(guest.name(), guest.as(Guest.EXCEPT, "")));
  }

  private void change(String why) {
    isChanged = true;
    stopped = why;
  }

  /// Notes what a rollout, or the plan of one, says of each guest.
  private void note(JsonNode result, List<Guest> some) {
    Map<String, Guest> asked = some.stream().collect(Collectors.toMap(Guest::name, guest -> guest));
    stopped = result.path("stopped").asString("");
    for (JsonNode entry : result.path("guests")) {
      Guest guest = asked.get(entry.path("guest").asString(""));
      if (guest != null) {
        String outcome = entry.path("outcome").asString("");
        String why = entry.path("problem").asString("") + " " + entry.path("detail").asString("");
        String to = result.path("to").asString(guest.to());
        guests.put(guest.name(), guest.came(to, outcome, why, entry.path("replacement")));
        stopAt(guest.name(), outcome);
      }
    }
  }

  /// The daemon, once it answers and knows of each of these guests where it runs.
  private Client returned(Collection<String> names) {
    long begun = System.nanoTime();
    HyperFreshException last =
        Problem.DAEMON_UPGRADING.because("It is not known yet how its guests stand.");
    while (System.nanoTime() - begun < RETURN.toNanos()
        && !Thread.currentThread().isInterrupted()) {
      LockSupport.parkNanos(LOOK.toNanos());
      try {
        Client client = daemon.get();
        if (client
            .get("/v1/guests")
            .path("guests")
            .valueStream()
            .filter(guest -> names.contains(guest.path("name").asString("")))
            .noneMatch(guest -> UNSETTLED.contains(guest.path("state").asString("")))) {
          return client;
        }
      } catch (HyperFreshException absent) {
        last = absent;
      }
    }
    throw last;
  }
}
