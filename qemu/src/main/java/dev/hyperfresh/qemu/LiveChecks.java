package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.stream.StreamSupport;
import tools.jackson.databind.JsonNode;

/// What a QEMU that runs a guest says of moving the guest away from it.
///
/// @param name the release that runs
/// @param ask runs a QMP command without arguments
record LiveChecks(String name, Function<String, JsonNode> ask) {

  List<Check> all() {
    List<Check> checks = new ArrayList<>();
    try {
      checks.add(capabilities());
      checks.add(devices());
    } catch (Qmp.QmpException e) {
      checks.add(
          Check.fail(
              "running release",
              name + " does not answer: " + e.getMessage() + ".",
              "Look at `hyperfresh guest show` and at the hypervisor's log in the guest's folder."));
    }
    return checks;
  }

  private Check capabilities() {
    List<String> has =
        items(
            ask.apply("query-migrate-capabilities"), item -> item.path("capability").asString(""));
    List<String> lacks = Qemu.NEEDED_CAPABILITIES.stream().filter(c -> !has.contains(c)).toList();
    return lacks.isEmpty()
        ? Check.pass(
            "running release",
            name + " has the capabilities " + String.join(", ", Qemu.NEEDED_CAPABILITIES) + ".")
        : Check.fail(
            "running release",
            name + " lacks the migration capability " + String.join(", ", lacks) + ".",
            "Restart the guest on QEMU 4.0 or newer.");
  }

  private Check devices() {
    JsonNode migration = ask.apply("query-migrate");
    String status = migration.path("status").asString("none");
    if (Migration.UNDER_WAY.contains(status)) {
      return Check.fail(
          "devices",
          "A migration of the guest is under way (" + status + ").",
          "Wait until it ends, or cancel it where it was started.");
    }
    List<String> reasons = items(migration.path("blocked-reasons"), item -> item.asString(""));
    return reasons.isEmpty()
        ? Check.pass("devices", "No device or backend of " + name + " refuses to move.")
        : Check.fail(
            "devices",
            name + " cannot move the guest: " + String.join("; ", reasons) + ".",
            "Remove the device or backend that is named.");
  }

  private static List<String> items(JsonNode list, Function<JsonNode, String> text) {
    return StreamSupport.stream(list.spliterator(), false).map(text).toList();
  }
}
