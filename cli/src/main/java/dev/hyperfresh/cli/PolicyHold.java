package dev.hyperfresh.cli;

import dev.hyperfresh.cli.PolicyResult.Guest;
import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;

/// What holds later runs of the policy while one moves guests, and after it: that it has not ended,
/// that it was interrupted, or at what it stopped. Thread-safe, since this process may be ended at
/// any time.
final class PolicyHold implements AutoCloseable {
  /// What of a move counts as a failure.
  static final Set<String> FAILED = Set.of("rolled-back", "soak-failed", "failed");

  private static final String NOT_ENDED =
      "A run of the policy has not ended, so nobody knows how its last move went.";

  private static final System.Logger LOG = System.getLogger(PolicyHold.class.getName());

  private final Path state;
  private final InstantSource clock;
  private final Optional<PolicyStop> before;
  private final boolean again;
  private final Set<String> builds = new LinkedHashSet<>();
  private final Map<String, List<String>> asked = new HashMap<>();
  private final Thread interruption = new Thread(this::interrupt, "hf-policy-interrupted");

  /// Whether guests may be being moved.
  private boolean isOpen;

  private PolicyHold(Path state, InstantSource clock, Optional<PolicyStop> before, boolean again) {
    this.state = state;
    this.clock = clock;
    this.before = before;
    this.again = again;
  }

  /// @param before what held this run, or would have
  /// @param again whether it holds again when this run is interrupted
  static PolicyHold over(
      Path state, InstantSource clock, Optional<PolicyStop> before, boolean again) {
    PolicyHold hold = new PolicyHold(state, clock, before, again);
    Runtime.getRuntime().addShutdownHook(hold.interruption);
    return hold;
  }

  /// What holds a run that begins. What was open when an earlier one was interrupted is known by
  /// now: a daemon writes down how each move ended, also one that the daemon before it had begun.
  ///
  /// @param stop that was interrupted
  /// @param daemon has none of its guests in the middle of a move
  static Optional<PolicyStop> settled(PolicyStop stop, Client daemon, Path state) {
    Optional<String> failure =
        stop.asked().entrySet().stream()
            .sorted(Map.Entry.comparingByKey())
            .flatMap(entry -> since(daemon, entry.getKey(), entry.getValue()))
            .filter(record -> FAILED.contains(record.path("outcome").asString("")))
            .map(record ->
                failure(record.path("guest").asString(""), record.path("outcome").asString("")))
            .findFirst();
    Optional<PolicyStop> left =
        failure
            .or(() -> Optional.of(stop.why()).filter(why -> !why.isEmpty()))
            .map(why -> new PolicyStop(stop.at(), stop.builds(), why));
    left.ifPresentOrElse(it -> it.keep(state), () -> PolicyStop.forget(state));
    return left;
  }

  /// How a guest did, in a sentence.
  static String failure(String guest, String outcome) {
    return "Guest " + guest + ": " + outcome + ".";
  }

  /// Guests are about to be moved, on which the daemon goes on when this process is ended.
  void begin(Client daemon, Collection<Guest> guests) {
    Map<String, List<String>> had = new HashMap<>();
    for (Guest guest : guests) {
      had.put(guest.name(), records(daemon, guest.name()).map(PolicyHold::id).toList());
    }
    synchronized (this) {
      guests.forEach(guest -> builds.add(guest.build()));
      had.forEach(asked::putIfAbsent);
      isOpen = true;
      stop(NOT_ENDED).keep(state);
    }
  }

  /// The newest replacement of a guest since it was asked for, if it has had one. No clock decides
  /// that: the host's may be set meanwhile.
  Optional<JsonNode> since(Client daemon, String guest) {
    return before(guest).flatMap(had -> since(daemon, guest, had).findFirst());
  }

  private synchronized Optional<List<String>> before(String guest) {
    return Optional.ofNullable(asked.get(guest));
  }

  private static Stream<JsonNode> since(Client daemon, String guest, Collection<String> before) {
    return records(daemon, guest).filter(record -> !before.contains(id(record)));
  }

  /// The newest 50. One of a run is among them, unless the clock was set back over 50 others.
  private static Stream<JsonNode> records(Client daemon, String guest) {
    return daemon.get("/v1/history", Map.of("guest", guest)).path("replacements").valueStream();
  }

  private static String id(JsonNode record) {
    return record.path("id").asString("");
  }

  private PolicyStop stop(String why) {
    return new PolicyStop(clock.instant(), List.copyOf(builds), why);
  }

  /// It stopped, and later runs are held.
  synchronized void stopped(String why) {
    stop(why).keep(state);
    isOpen = false;
  }

  /// It has ended, and no later run is held.
  synchronized void ended() {
    PolicyStop.forget(state);
    isOpen = false;
  }

  /// It has touched nothing more.
  synchronized void refused() {
    before.ifPresentOrElse(stop -> stop.keep(state), () -> PolicyStop.forget(state));
    isOpen = false;
  }

  /// As this process ends: the host shuts down, the service is stopped, or somebody has enough.
  private synchronized void interrupt() {
    if (!isOpen) {
      return;
    }
    Optional<PolicyStop> earlier = before.filter(_ -> again);
    List<String> all = new ArrayList<>(builds);
    earlier.ifPresent(stop -> all.addAll(stop.builds()));
    try {
      new PolicyStop(
              clock.instant(),
              all.stream().distinct().toList(),
              earlier.map(PolicyStop::why).orElse(""),
              asked)
          .keep(state);
    } catch (HyperFreshException e) {
      // Then it has not ended, as is written down.
      LOG.log(System.Logger.Level.DEBUG, "an interruption is not written down", e);
    }
  }

  @Override
  public void close() {
    try {
      var _ = Runtime.getRuntime().removeShutdownHook(interruption);
    } catch (IllegalStateException ending) {
      LOG.log(System.Logger.Level.DEBUG, "this process ends", ending);
    }
  }
}
