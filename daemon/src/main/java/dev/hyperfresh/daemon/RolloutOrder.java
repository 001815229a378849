package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// The request for a rollout, read from its JSON: `guests` or `all`, `to`, and if given `from`,
/// `parallel`, `canary`, `soak_ms`, `within_ms`, `max_blackout_ms`, `rehearse` and `step_clock`.
final class RolloutOrder {
  private RolloutOrder() {}

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST],
  ///   [Problem#RELEASE_UNKNOWN]
  static GuestRollout.Order read(JsonNode body, Destinations destinations) {
    Fields fields = new Fields(body);
    List<String> names = body.path("guests").valueStream().map(n -> n.asString("")).toList();
    boolean all = fields.flag("all", false);
    if (all != names.isEmpty()) {
      throw Problem.API_REQUEST.because("The request needs exactly one of 'guests' and 'all'.");
    }
    return new GuestRollout.Order(
        names,
        destinations.named(to(body)),
        fields.optional("from").map(destinations::all),
        within(pace(fields), body, fields),
        millis(fields, "max_blackout_ms", 1000),
        fields.flag("rehearse", true),
        fields.flag("step_clock", false));
  }

  /// The order for the guests of a machine, to another one; `parallel` and so on are those of the
  /// request.
  static GuestRollout.Order of(JsonNode body, MachineRoom.Target target) {
    Fields fields = new Fields(body);
    return new GuestRollout.Order(
        target.guests(),
        target.machine(),
        Optional.empty(),
        within(pace(fields), body, fields),
        millis(fields, "max_blackout_ms", 1000),
        fields.flag("rehearse", true),
        fields.flag("step_clock", false));
  }

  /// How fast; [Rollout.Pace#faults] says what is out of range.
  static Rollout.Pace pace(Fields fields) {
    return new Rollout.Pace(
        number(fields, "parallel", 1), number(fields, "canary", 0), millis(fields, "soak_ms", 0));
  }

  private static Rollout.Pace within(Rollout.Pace pace, JsonNode body, Fields fields) {
    return body.has("within_ms")
        ? new Rollout.Pace(
            pace.parallel(),
            pace.canary(),
            pace.soak(),
            Optional.of(millis(fields, "within_ms", 0)))
        : pace;
  }

  static String to(JsonNode body) {
    return new Fields(body).text("to");
  }

  /// [GuestRollout.Order] says what is out of range, and tells of all that is.
  private static int number(Fields fields, String field, int otherwise) {
    return fields.number(field, otherwise, Integer.MIN_VALUE, Integer.MAX_VALUE);
  }

  private static Duration millis(Fields fields, String field, long otherwise) {
    return Duration.ofMillis(fields.number(field, otherwise, Long.MIN_VALUE, Long.MAX_VALUE));
  }
}
