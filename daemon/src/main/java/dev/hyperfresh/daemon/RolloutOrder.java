package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// The request for a rollout, read from its JSON: `guests` or `all`, `to`, and if given `from`,
/// `parallel`, `canary`, `soak_ms`, `max_blackout_ms`, `rehearse` and `step_clock`.
final class RolloutOrder {
  private RolloutOrder() {}

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST],
  ///   [Problem#RELEASE_UNKNOWN]
  static Rollout.Order read(JsonNode body, Function<String, Release> releases) {
    List<String> names = body.path("guests").valueStream().map(n -> n.asString("")).toList();
    boolean all = body.path("all").asBoolean(false);
    if (all != names.isEmpty()) {
      throw Problem.API_REQUEST.because("The request needs either 'guests' or 'all'.");
    }
    return new Rollout.Order(
        names,
        releases.apply(to(body)),
        text(body, "from").map(from -> releases.apply(from).name()),
        body.path("parallel").asInt(1),
        body.path("canary").asInt(0),
        Duration.ofMillis(body.path("soak_ms").asLong(0)),
        Duration.ofMillis(body.path("max_blackout_ms").asLong(1000)),
        body.path("rehearse").asBoolean(true),
        body.path("step_clock").asBoolean(false));
  }

  /// The order for the guests of a machine, to another one; `parallel` and so on are those of the
  /// request.
  static Rollout.Order of(JsonNode body, MachineRoom.Target target) {
    return new Rollout.Order(
        target.guests(),
        target.machine(),
        Optional.empty(),
        body.path("parallel").asInt(1),
        body.path("canary").asInt(0),
        Duration.ofMillis(body.path("soak_ms").asLong(0)),
        Duration.ofMillis(body.path("max_blackout_ms").asLong(1000)),
        body.path("rehearse").asBoolean(true),
        body.path("step_clock").asBoolean(false));
  }

  static String to(JsonNode body) {
    return text(body, "to")
        .orElseThrow(() -> Problem.API_REQUEST.because("The request lacks 'to'."));
  }

  private static Optional<String> text(JsonNode body, String field) {
    return Optional.of(body.path(field).asString("")).filter(value -> !value.isEmpty());
  }
}
