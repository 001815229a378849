package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuReleases;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// The request for a rollout, read from its JSON: `guests` or `all`, `to`, and if given `from`,
/// `parallel`, `canary`, `soak_ms`, `max_blackout_ms` and `rehearse`.
final class RolloutOrder {
  private RolloutOrder() {}

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST],
  ///   [Problem#RELEASE_UNKNOWN]
  static Rollout.Order read(JsonNode body, QemuReleases releases) {
    List<String> names = body.path("guests").valueStream().map(n -> n.asString("")).toList();
    boolean all = body.path("all").asBoolean(false);
    if (all != names.isEmpty()) {
      throw Problem.API_REQUEST.because("The request needs either 'guests' or 'all'.");
    }
    return new Rollout.Order(
        names,
        releases.get(
            text(body, "to")
                .orElseThrow(() -> Problem.API_REQUEST.because("The request lacks 'to'."))),
        text(body, "from").map(from -> releases.get(from).name()),
        body.path("parallel").asInt(1),
        body.path("canary").asInt(0),
        Duration.ofMillis(body.path("soak_ms").asLong(0)),
        Duration.ofMillis(body.path("max_blackout_ms").asLong(1000)),
        body.path("rehearse").asBoolean(true));
  }

  private static Optional<String> text(JsonNode body, String field) {
    return Optional.of(body.path(field).asString("")).filter(value -> !value.isEmpty());
  }
}
