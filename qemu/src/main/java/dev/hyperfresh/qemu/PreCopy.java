package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.MemoryCopy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/// QEMU's ordinary migration, which copies the guest's memory while the guest runs (pre-copy), in
/// the words of QMP: how a side is set up for it, how far it is, and how a side becomes as it was.
///
/// Whoever started the source may have set it up for migrations of its own. The target is not set
/// up like that, and so every capability is switched off that is not needed here.
final class PreCopy {
  private static final String EVENTS = "events";

  /// Slows the guest down when it writes faster than can be copied.
  private static final String AUTO_CONVERGE = "auto-converge";

  private static final String MAX_BANDWIDTH = "max-bandwidth";
  private static final String DOWNTIME_LIMIT = "downtime-limit";

  /// Those that have to be changed, as they are before.
  private final Map<String, Boolean> capabilities;

  /// The parameters as they are before; none of a side that needs no others.
  private final Map<String, Long> parameters;

  private final Map<String, Long> ours;

  private PreCopy(
      Map<String, Boolean> capabilities, Map<String, Long> parameters, Map<String, Long> ours) {
    this.capabilities = capabilities;
    this.parameters = parameters;
    this.ours = ours;
  }

  /// How a target is to be set up.
  ///
  /// @throws Qmp.QmpException when it does not say how it is
  static PreCopy ofTarget(Qmp qmp) {
    return new PreCopy(different(qmp, Set.of(EVENTS)), Map.of(), Map.of());
  }

  /// How a source is to be set up, whose guest is to stand still for about `maxDowntime` at most.
  ///
  /// @throws Qmp.QmpException when it does not say how it is
  static PreCopy ofSource(Qmp qmp, Duration maxDowntime) {
    Map<String, Long> ours =
        Map.of(
            MAX_BANDWIDTH,
            Migration.MAX_BANDWIDTH,
            DOWNTIME_LIMIT,
            Math.max(1, maxDowntime.toMillis()));
    JsonNode now = qmp.execute("query-migrate-parameters", Map.of());
    Map<String, Long> before = new LinkedHashMap<>();
    for (String parameter : ours.keySet()) {
      if (now.path(parameter).canConvertToLong()) {
        before.put(parameter, now.path(parameter).longValue());
      }
    }
    return new PreCopy(different(qmp, Set.of(EVENTS, AUTO_CONVERGE)), before, ours);
  }

  /// The capabilities that are not as they are when only the `wanted` ones are on.
  private static Map<String, Boolean> different(Qmp qmp, Set<String> wanted) {
    Map<String, Boolean> different = new LinkedHashMap<>();
    for (JsonNode item : qmp.execute("query-migrate-capabilities", Map.of())) {
      String name = item.path("capability").asString("");
      boolean on = item.path("state").asBoolean(false);
      if (on != wanted.contains(name)) {
        different.put(name, on);
      }
    }
    return different;
  }

  /// Sets the side up.
  ///
  /// @throws Qmp.QmpException when it refuses or does not answer
  void apply(Qmp qmp) {
    set(qmp, ours, true);
  }

  /// Sets it back to what it was.
  ///
  /// @throws Qmp.QmpException when it refuses or does not answer
  void undo(Qmp qmp) {
    set(qmp, parameters, false);
  }

  private void set(Qmp qmp, Map<String, Long> values, boolean otherwise) {
    if (!capabilities.isEmpty()) {
      List<Map<String, ?>> list = new ArrayList<>();
      capabilities.forEach(
          (name, on) -> list.add(Map.of("capability", name, "state", otherwise != on)));
      qmp.execute("migrate-set-capabilities", Map.of("capabilities", list));
    }
    if (!values.isEmpty()) {
      qmp.execute("migrate-set-parameters", values);
    }
  }

  /// How far the copy is.
  ///
  /// @throws Qmp.QmpException when QEMU does not say within [Migration#LIMIT]: the guest may have
  ///   been stopped meanwhile
  static MemoryCopy.Status status(Qmp qmp) {
    JsonNode migration = qmp.execute(Migration.LIMIT, "query-migrate", Map.of());
    JsonNode ram = migration.path("ram");
    return new MemoryCopy.Status(
        ram.path("total").asLong(0),
        ram.path("transferred").asLong(0),
        ram.path("remaining").asLong(0),
        ram.path("dirty-pages-rate").asLong(0) * ram.path("page-size").asLong(0),
        ram.path("dirty-sync-count").asLong(0),
        migration.path("expected-downtime").asLong(0),
        migration.path("cpu-throttle-percentage").asInt(0));
  }
}
