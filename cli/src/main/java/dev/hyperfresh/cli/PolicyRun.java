package dev.hyperfresh.cli;

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
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// One run of the policy: looks which guests run an older QEMU, and does what the policy says now.
/// The daemon moves them; this only asks it to, one rollout for each build that guests are to run.
/// Not thread-safe.
final class PolicyRun {
  private static final Set<String> FAILED = Set.of("rolled-back", "soak-failed", "failed");
  private static final String NOT_STARTED = "not-started";

  /// Of a guest of which a daemon does not know yet which hypervisor has it.
  private static final Set<String> UNSETTLED = Set.of("recovering", "replacing");

  private static final String GONE = "gone";

  /// Of a guest whose process does not show what it runs.
  static final String UNKNOWN = "unknown";

  private static final String NOT_ENDED =
      "A run of the policy has not ended, so nobody knows how its last move went.";

  /// A daemon that gives way to a newer one stops a rollout; so often the newer one is asked.
  private static final int MOST_ROUNDS = 4;

  /// A takeover waits up to 2.5 minutes for what is in flight.
  private static final Duration RETURN = Duration.ofMinutes(4);

  private static final Duration LOOK = Duration.ofSeconds(1);

  private final Policy policy;
  private final Path state;
  private final Supplier<Client> daemon;
  private final Function<Map<Integer, HostQemus.Owned>, JsonNode> look;
  private final InstantSource clock;
  private final ZoneId zone;
  private final Progress progress;
  private final Map<String, Guest> guests = new LinkedHashMap<>();
  private int others;
  private String stopped = "";

  /// To which guests were to be moved, as people call them.
  private final Set<String> builds = new LinkedHashSet<>();

  /// Whether a daemon has ended without a word of how its moves went.
  private boolean isLost;

  /// How a run ended.
  enum Outcome {
    /// No guest runs an older QEMU, or only exceptions do.
    NOTHING("nothing"),
    /// Some do, and that was all to be said.
    REPORTED("reported"),
    /// Each of them can move.
    POSSIBLE("possible"),
    /// Some cannot.
    IMPOSSIBLE("impossible"),
    /// They wait for the window.
    WAITS("waits"),
    /// All of them were moved.
    MOVED("moved"),
    /// The window closed before all were.
    UNFINISHED("unfinished"),
    /// One failed, or cannot move.
    FAILED("failed");

    private final String word;

    Outcome(String word) {
      this.word = word;
    }

    String word() {
      return word;
    }

    /// The code that a command ends with.
    int exitCode() {
      return switch (this) {
        case NOTHING, POSSIBLE, MOVED -> 0;
        case REPORTED, WAITS, UNFINISHED -> OutdatedCommand.SOME_OUTDATED;
        case IMPOSSIBLE, FAILED -> Problem.REPLACE_OBSTACLES.exitCode();
      };
    }
  }

  /// One of the guests that run an older QEMU.
  ///
  /// @param from the release that it ran on
  /// @param to what takes its place, as commands name it
  /// @param build the same, as people call it
  /// @param outcome as a rollout has it, or `outdated`, `unknown` or `except`
  /// @param detail why, where there is something to say
  /// @param answer of its replacement, if there was one
  record Guest(
      String name,
      String from,
      String to,
      String build,
      String outcome,
      String detail,
      JsonNode answer) {
    private Guest as(String other, String why) {
      return new Guest(name, from, to, build, other, why, answer);
    }

    private Guest came(String where, String how, String why, JsonNode record) {
      return new Guest(name, from, where, build, how, why.strip(), record);
    }
  }

  /// What came of it.
  ///
  /// @param opens when the window opens, if it is waited for
  /// @param stopped why not all was done, or empty
  /// @param others how many outdated QEMUs are none of the daemon's guests
  record Result(
      Outcome outcome, Optional<Instant> opens, String stopped, List<Guest> guests, int others) {
    /// How many guests do not show what they run.
    long unknown() {
      return guests.stream().filter(guest -> guest.outcome().equals(UNKNOWN)).count();
    }

    /// The code that a command ends with: unknown is not no.
    int exitCode() {
      return outcome.exitCode() == 0 && unknown() > 0
          ? OutdatedCommand.SOME_UNKNOWN
          : outcome.exitCode();
    }
  }

  /// @param look what `hyperfresh outdated` says, with what a daemon says of its own
  PolicyRun(
      Policy policy,
      Path state,
      Supplier<Client> daemon,
      Function<Map<Integer, HostQemus.Owned>, JsonNode> look,
      InstantSource clock,
      ZoneId zone,
      Progress progress) {
    this.policy = policy;
    this.state = state;
    this.daemon = daemon;
    this.look = look;
    this.clock = clock;
    this.zone = zone;
    this.progress = progress;
  }

  /// @param again whether an earlier failure is no hindrance
  /// @throws HyperFreshException [Problem#POLICY_HELD], [Problem#POLICY_RUNNING]; and when the
  ///   daemon cannot be asked, or refuses
  Result run(boolean again) {
    if (policy.action() != Policy.Action.REPLACE) {
      return step(again);
    }
    try (StateLock _ = StateLock.takePolicy(state)) {
      return step(again);
    }
  }

  private Result step(boolean again) {
    List<Guest> old = outdated(daemon.get());
    Optional<PolicyStop> before = before(again);
    Optional<String> failure = again ? Optional.empty() : failure(before, old);
    Step step = policy.step(!old.isEmpty(), failure, clock.instant(), zone);
    return switch (step) {
      case Step.Nothing _ -> result(Outcome.NOTHING);
      case Step.Report _ -> result(Outcome.REPORTED);
      case Step.DryRun _ -> plan(old);
      case Step.Waits waits ->
          new Result(Outcome.WAITS, Optional.of(waits.opens()), "", all(), others);
      case Step.Held held -> throw Problem.POLICY_HELD.because(held.why());
      case Step.Replace replace -> replace(old, replace.within(), before);
    };
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
            .filter(guest -> !guest.outcome().equals("there"))
            .toList();
    others =
        answer.path("outdated").asInt()
            - (int) own.stream().filter(guest -> !guest.to().isEmpty()).count();
    own.stream()
        .map(guest -> policy.except().contains(guest.name()) ? guest.as("except", "") : guest)
        .forEach(guest -> guests.merge(guest.name(), guest, PolicyRun::later));
    return own.stream()
        .filter(guest -> guest.outcome().equals("outdated"))
        .filter(guest -> !policy.except().contains(guest.name()))
        .toList();
  }

  /// What is known of a guest is not lost because a later look does not show it.
  private static Guest later(Guest was, Guest is) {
    return is.outcome().equals(UNKNOWN) && !was.outcome().equals(GONE) ? was : is;
  }

  /// @param qemu what its process shows, which may be nothing
  private static Guest guest(HostQemus.Owned own, JsonNode qemu) {
    String to = qemu.path("to").asString("");
    String known = qemu.path("state").asString("unknown").equals("unknown") ? UNKNOWN : "there";
    return new Guest(
        own.name(),
        own.release(),
        to,
        qemu.path("installed").path("label").asString(""),
        to.isEmpty() ? known : "outdated",
        "",
        Output.JSON.missingNode());
  }

  /// At what an earlier run stopped. What is damaged is gone when somebody has looked.
  private Optional<PolicyStop> before(boolean again) {
    try {
      return PolicyStop.read(state);
    } catch (HyperFreshException damaged) {
      if (again) {
        return Optional.empty();
      }
      throw damaged
          .problem()
          .because(
              damaged.detail() + " `hyperfresh policy apply --again` goes on without it.", damaged);
    }
  }

  private static Optional<String> failure(Optional<PolicyStop> before, List<Guest> old) {
    Set<String> wanted = old.stream().map(Guest::build).collect(Collectors.toSet());
    return before
        .filter(stop -> stop.builds().stream().anyMatch(wanted::contains))
        .map(stop -> stop.why() + " (" + stop.at() + ")");
  }

  private List<Guest> all() {
    return List.copyOf(guests.values());
  }

  private Result result(Outcome outcome) {
    return new Result(outcome, Optional.empty(), stopped, all(), others);
  }

  private static Map<String, List<Guest>> byTarget(List<Guest> old) {
    return old.stream()
        .collect(Collectors.groupingBy(Guest::to, LinkedHashMap::new, Collectors.toList()));
  }

  private Result plan(List<Guest> old) {
    byTarget(old)
        .forEach((to, some) ->
            note(daemon.get().post("/v1/rollouts/plan", order(to, some, Optional.empty())), some));
    return result(
        guests.values().stream().allMatch(guest -> !guest.outcome().equals("left-alone"))
            ? Outcome.POSSIBLE
            : Outcome.IMPOSSIBLE);
  }

  private Map<String, Object> order(String to, List<Guest> some, Optional<Duration> within) {
    Map<String, Object> order = new LinkedHashMap<>();
    order.put("to", to);
    order.put("guests", some.stream().map(Guest::name).toList());
    order.put("parallel", policy.pace().parallel());
    order.put("canary", policy.pace().canary());
    order.put("soak_ms", policy.pace().canary() == 0 ? 0 : policy.pace().soak().toMillis());
    order.put("max_blackout_ms", policy.blackout().toMillis());
    within.ifPresent(time -> order.put("within_ms", time.toMillis()));
    return order;
  }

  private Result replace(
      List<Guest> first, Optional<Duration> within, Optional<PolicyStop> before) {
    try {
      boolean isLeft = moveInRounds(first, within);
      if (has(FAILED)) {
        hold(stopped);
        return result(Outcome.FAILED);
      }
      PolicyStop.forget(state);
      return isLeft ? result(Outcome.UNFINISHED) : finished();
    } catch (HyperFreshException e) {
      // What the daemon refuses changes nothing.
      if (e.problem().httpStatus() / 100 == 4 && !isLost) {
        before.ifPresentOrElse(stop -> stop.keep(state), () -> PolicyStop.forget(state));
      }
      throw e;
    }
  }

  private void hold(String why) {
    new PolicyStop(clock.instant(), List.copyOf(builds), why).keep(state);
  }

  /// Moves guests until all are moved, one has failed or the time is over.
  ///
  /// @return whether some are left
  private boolean moveInRounds(List<Guest> first, Optional<Duration> within) {
    Instant begun = clock.instant();
    Optional<Instant> end = within.map(begun::plus);
    List<Guest> old = first;
    for (int round = 1; ; round++) {
      Optional<HyperFreshException> lost = moveAll(old, end);
      boolean isOver = end.filter(it -> !clock.instant().isBefore(it)).isPresent();
      if (lost.isEmpty() && (isOver || has(FAILED) || !has(Set.of(NOT_STARTED)))) {
        return has(Set.of(NOT_STARTED));
      }
      HyperFreshException why = lost.orElseGet(() -> Problem.DAEMON_UPGRADING.because(stopped));
      old = lookAgain(old, why, begun);
      if (isOver || has(FAILED) || old.isEmpty()) {
        return !old.isEmpty();
      }
      if (round == MOST_ROUNDS) {
        throw why;
      }
    }
  }

  /// What is left when the daemon answers again. A daemon that ended has not said how it went with
  /// the guest that it was moving; the history does. One that is not outdated any more and was not
  /// moved has ended.
  private List<Guest> lookAgain(List<Guest> asked, HyperFreshException why, Instant begun) {
    Client client = returned(asked, why);
    stopped = "";
    asked.forEach(guest -> guests.put(guest.name(), guest.as(GONE, "")));
    List<Guest> old = outdated(client);
    for (Guest guest : asked) {
      client
          .get("/v1/history", Map.of("guest", guest.name()))
          .path("replacements")
          .valueStream()
          .limit(1)
          .filter(record -> !Instant.parse(record.path("started_at").asString()).isBefore(begun))
          .forEach(record -> note(guest, record));
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
    if (stopped.isEmpty() && FAILED.contains(outcome)) {
      stopped = "Guest " + guest + ": " + outcome + ".";
    }
  }

  private Result finished() {
    return result(has(Set.of("left-alone")) ? Outcome.FAILED : Outcome.MOVED);
  }

  private boolean has(Set<String> outcomes) {
    return guests.values().stream().anyMatch(guest -> outcomes.contains(guest.outcome()));
  }

  /// @return that the daemon has ended meanwhile, if it has
  private Optional<HyperFreshException> moveAll(List<Guest> old, Optional<Instant> end) {
    old.forEach(guest -> builds.add(guest.build()));
    // This process may be ended at any time, and the daemon goes on.
    hold(NOT_ENDED);
    for (Map.Entry<String, List<Guest>> some : byTarget(old).entrySet()) {
      Optional<Duration> left = end.map(it -> Duration.between(clock.instant(), it));
      if (!stopped.isEmpty() || left.filter(it -> it.toMillis() < 1).isPresent()) {
        some.getValue().forEach(guest -> guests.put(guest.name(), guest.as(NOT_STARTED, stopped)));
        continue;
      }
      try {
        note(
            daemon
                .get()
                .work("/v1/rollouts", order(some.getKey(), some.getValue(), left), progress),
            some.getValue());
      } catch (HyperFreshException e) {
        if (e.problem() != Problem.DAEMON_ABSENT && e.problem() != Problem.DAEMON_UPGRADING) {
          throw e;
        }
        isLost = true;
        return Optional.of(e);
      }
    }
    return Optional.empty();
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

  /// The daemon, once it answers again and knows of each of these guests where it runs.
  private Client returned(List<Guest> asked, HyperFreshException why) {
    Set<String> names = asked.stream().map(Guest::name).collect(Collectors.toSet());
    long begun = System.nanoTime();
    HyperFreshException last = why;
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
