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
  static final String TPM = "TPM";

  /// How QEMU begins the name of a socket that leads nowhere any more.
  private static final String LOST = "disconnected:";

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

  /// Whether the swtpm of the guest's TPM is there: without it QEMU cannot send what the TPM holds.
  Check tpm() {
    try {
      List<String> ends =
          items(
              ask.apply("query-tpm"),
              tpm -> tpm.path("options").path("data").path("chardev").asString(""));
      List<String> connections =
          StreamSupport.stream(ask.apply("query-chardev").spliterator(), false)
              .filter(chardev -> ends.contains(chardev.path("label").asString("")))
              .map(chardev -> chardev.path("filename").asString(""))
              .toList();
      return connections.isEmpty() || connections.stream().anyMatch(c -> c.startsWith(LOST))
          ? Check.fail(
              TPM,
              "The swtpm of its TPM has ended, so its TPM does not answer.",
              "Restart the guest.")
          : Check.pass(TPM, "Its TPM is connected to its swtpm.");
    } catch (Qmp.QmpException e) {
      return Check.fail(TPM, name + " does not tell: " + e.getMessage() + ".", "Try again.");
    }
  }

  private static List<String> items(JsonNode list, Function<JsonNode, String> text) {
    return StreamSupport.stream(list.spliterator(), false).map(text).toList();
  }
}
