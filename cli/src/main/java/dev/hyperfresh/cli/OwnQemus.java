package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.HostQemus;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/// Which QEMUs of this host are the daemon's.
final class OwnQemus {
  private static final Set<String> ENDED = Set.of("stopped", "ended", "lost");

  private OwnQemus() {}

  /// What the daemon says of its own, by the numbers of their processes.
  static Map<Integer, HostQemus.Owned> of(Client daemon) {
    Map<Integer, HostQemus.Owned> owned = new HashMap<>();
    add(owned, HostQemus.GUEST, "release", daemon.get("/v1/guests").path("guests"));
    add(owned, "machine", "hardware", daemon.get("/v1/machines").path("machines"));
    add(owned, "os", "hardware", daemon.get("/v1/os").path("os"));
    return owned;
  }

  private static void add(
      Map<Integer, HostQemus.Owned> owned, String role, String release, JsonNode all) {
    // The number of one that has ended may be another process's by now, and a guest inside a
    // machine has none.
    all.valueStream()
        .filter(one -> one.path("pid").asInt(0) > 0)
        .filter(one -> one.path("kind").asString("process").equals("process"))
        .filter(one -> !ENDED.contains(one.path("state").asString("")))
        .forEach(one ->
            owned.put(
                one.path("pid").asInt(),
                new HostQemus.Owned(
                    role, one.path("name").asString(""), one.path(release).asString(""))));
  }
}
