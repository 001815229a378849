package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;

/// What a running QEMU says of its machine. Only questions are asked, none of which the guest
/// notices.
///
/// @param machine the versioned machine type, whatever alias it was started with
/// @param defaultCpu the CPU model that the machine has when none is named
/// @param memoryBytes the guest's RAM
/// @param images the open images by the name they were opened under, with their formats
/// @param files the names of all files that block devices have open, those below images among them
/// @param devices the names of all devices that were made by name
/// @param namelessDevices how many were made without a name
/// @param identity by what the guest knows it
/// @param roms the firmware that it loaded from files
/// @param obstacles what of its present doings keeps it from moving, one sentence each
record LiveMachine(
    String version,
    String machine,
    String defaultCpu,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes,
    List<Image> images,
    Set<String> files,
    Set<String> devices,
    int namelessDevices,
    MachineIdentity identity,
    List<ForeignFirmware.Rom> roms,
    List<String> obstacles) {

  /// A block device's open image.
  record Image(String file, String format, boolean readOnly) {}

  /// Asks through `qmp`.
  ///
  /// @throws Qmp.QmpException when a question is not answered
  static LiveMachine ask(Qmp qmp) {
    JsonNode version = qmp.execute("query-version", Map.of()).path("qemu");
    String type =
        qmp.execute("qom-get", Map.of("path", "/machine", "property", "type")).asString("");
    String machine = type.replaceFirst("-machine$", "");
    Set<String> devices = children(qmp, "/machine/peripheral");
    return new LiveMachine(
        version.path("major").asInt()
            + "."
            + version.path("minor").asInt()
            + "."
            + version.path("micro").asInt(),
        machine,
        defaultCpu(qmp, machine),
        qmp.execute("query-kvm", Map.of()).path("enabled").asBoolean(false)
            ? Accelerator.KVM
            : Accelerator.TCG,
        qmp.execute("query-cpus-fast", Map.of()).size(),
        qmp.execute("query-memory-size-summary", Map.of()).path("base-memory").asLong(0),
        images(qmp),
        files(qmp),
        devices,
        children(qmp, "/machine/peripheral-anon").size(),
        MachineIdentity.ask(qmp::execute),
        ForeignFirmware.loaded(qmp::execute),
        obstacles(qmp));
  }

  private static String defaultCpu(Qmp qmp, String machine) {
    return qmp.execute("query-machines", Map.of())
        .valueStream()
        .filter(m -> m.path("name").asString("").equals(machine))
        .map(m -> m.path("default-cpu-type").asString("").replaceFirst("-x86_64-cpu$", ""))
        .findFirst()
        .orElse("");
  }

  private static Set<String> children(Qmp qmp, String path) {
    Set<String> names = new TreeSet<>();
    MachineIdentity.children(qmp::execute, path).forEach(child -> names.add(child.name()));
    return names;
  }

  private static List<Image> images(Qmp qmp) {
    List<Image> images = new ArrayList<>();
    qmp.execute("query-block", Map.of())
        .forEach(device -> {
          JsonNode inserted = device.path("inserted");
          if (inserted.isObject()) {
            images.add(
                new Image(
                    inserted.path("file").asString(""),
                    inserted.path("drv").asString(""),
                    inserted.path("ro").asBoolean(false)));
          }
        });
    return images;
  }

  private static Set<String> files(Qmp qmp) {
    Set<String> files = new TreeSet<>();
    qmp.execute("query-named-block-nodes", Map.of("flat", true))
        .forEach(node -> files.add(node.path("file").asString("")));
    return files;
  }

  private static List<String> obstacles(Qmp qmp) {
    List<String> obstacles = new ArrayList<>();
    String status = qmp.execute("query-status", Map.of()).path("status").asString("");
    if (!status.equals("running")) {
      obstacles.add("The guest is " + status + "; it can be adopted only while it runs.");
    }
    JsonNode migration = qmp.execute("query-migrate", Map.of());
    if (!List.of("none", "completed", "failed", "cancelled")
        .contains(migration.path("status").asString("none"))) {
      obstacles.add("A migration of the guest is under way; wait until it ends.");
    }
    migration
        .path("blocked-reasons")
        .forEach(reason ->
            obstacles.add("QEMU itself says that it cannot move: " + reason.asString("") + "."));
    if (qmp.execute("query-block-jobs", Map.of()).size() > 0) {
      obstacles.add("A block job runs on a disk of the guest; wait until it ends.");
    }
    if (qmp.execute("query-memory-devices", Map.of()).size() > 0) {
      obstacles.add("Memory was hot-plugged into the guest, which cannot be moved yet; unplug it.");
    }
    return obstacles;
  }

  /// The format of the image that was opened as `file`.
  Optional<String> format(Path file) {
    return images.stream()
        .filter(image -> image.file().equals(file.toString()))
        .map(Image::format)
        .findFirst();
  }

  /// Whether this version leaves only *named* files out of a migration, and sends a memfd's pages:
  /// from 8.1 on (`RAM_NAMED_FILE`).
  boolean copiesMemFds() {
    String[] numbers = version.split("\\.");
    int major = Integer.parseInt(numbers[0]);
    return major > 8 || (major == 8 && Integer.parseInt(numbers[1]) >= 1);
  }
}
