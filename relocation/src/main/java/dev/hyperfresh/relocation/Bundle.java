package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/// An OCI bundle: what is taken of it, and what of it could not be moved to another OS.
///
/// The fields are those of the OCI runtime specification's `config.json`.
final class Bundle {
  private static final long MOST_BYTES = 1 << 20;
  private static final JsonMapper JSON = JsonMapper.builder().build();

  /// Mounts that both operating systems make alike.
  private static final Set<String> MOUNTS =
      Set.of("proc", "sysfs", "tmpfs", "mqueue", "devpts", "cgroup", "cgroup2");

  private static final List<String> NAMESPACES = List.of("pid", "ipc", "uts", "mount", "cgroup");

  private final ObjectNode config;
  private final Path root;

  private Bundle(ObjectNode config, Path root) {
    this.config = config;
    this.root = root;
  }

  /// Reads the bundle in `folder`.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_SPEC] with all that is wrong with it
  static Bundle read(Path folder) {
    Path file = folder.resolve("config.json");
    try {
      if (Files.size(file) > MOST_BYTES) {
        throw Problem.CONTAINER_SPEC.because(file + " is larger than 1 MiB.");
      }
      JsonNode read = JSON.readTree(Files.readAllBytes(file));
      if (!(read instanceof ObjectNode config)) {
        throw Problem.CONTAINER_SPEC.because(file + " is no JSON object.");
      }
      Path root = folder.resolve(config.path("root").path("path").asString("rootfs")).normalize();
      Bundle bundle = new Bundle(config, root);
      List<String> obstacles = bundle.obstacles();
      if (!obstacles.isEmpty()) {
        throw Problem.CONTAINER_SPEC.because(file + ": " + String.join(" ", obstacles));
      }
      return bundle;
    } catch (IOException | JacksonException e) {
      throw Problem.CONTAINER_SPEC.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The root file system on this host.
  Path root() {
    return root;
  }

  /// What would keep the container from starting, or from moving later: CRIU moves neither devices
  /// nor terminals, and what is mounted must be there in every OS.
  private List<String> obstacles() {
    List<String> found = new ArrayList<>();
    if (!Files.isDirectory(root)) {
      found.add("root.path: " + root + " is no folder.");
    }
    if (config.path("process").path("args").isEmpty()) {
      found.add("process.args: there is no program to run.");
    }
    if (config.path("process").path("terminal").asBoolean(false)) {
      found.add("process.terminal: a terminal cannot move; set it to false.");
    }
    if (!config.path("hooks").isEmpty()) {
      found.add("hooks: they would run in an OS that the container leaves.");
    }
    if (!config.path("linux").path("devices").isEmpty()) {
      found.add("linux.devices: a device cannot move.");
    }
    for (JsonNode mount : config.path("mounts")) {
      if (!MOUNTS.contains(mount.path("type").asString(""))) {
        found.add(
            "mounts: "
                + mount.path("destination").asString("")
                + " is of type '"
                + mount.path("type").asString("")
                + "', which not every OS has; copy it into the root file system.");
      }
    }
    for (JsonNode namespace : config.path("linux").path("namespaces")) {
      String type = namespace.path("type").asString("");
      if (type.equals("user") || type.equals("time")) {
        found.add("linux.namespaces: a " + type + " namespace cannot move.");
      }
    }
    return found;
  }

  /// What runc gets: the bundle's configuration with the container's own place in an OS.
  byte[] configuration(String name, String networkNamespace) {
    ObjectNode made = config.deepCopy();
    made.putObject("root")
        .put("path", "rootfs")
        .put("readonly", config.path("root").path("readonly").asBoolean(false));
    if (made.path("hostname").asString("").isEmpty()) {
      made.put("hostname", name);
    }
    ObjectNode linux =
        made.get("linux") instanceof ObjectNode there ? there : made.putObject("linux");
    linux.put("cgroupsPath", "/" + name);
    ArrayNode namespaces = linux.putArray("namespaces");
    NAMESPACES.forEach(type -> namespaces.addObject().put("type", type));
    namespaces.addObject().put("type", "network").put("path", networkNamespace);
    return JSON.writeValueAsBytes(made);
  }
}
