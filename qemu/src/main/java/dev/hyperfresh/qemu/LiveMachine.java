package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Accelerator;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// What a running QEMU says of its machine. Only questions are asked, none of which the guest
/// notices.
///
/// @param machine the versioned machine type, whatever alias it was started with
/// @param defaultCpu the CPU model that the machine has when none is named
/// @param processor the one that it has
/// @param memory the guest's RAM
/// @param images the open images by the name they were opened under, with their formats
/// @param files the names of all files that block devices have open, those below images among them
/// @param devices the names of all devices that were made by name
/// @param namelessDevices how many were made without a name
/// @param identity by what the guest knows it
/// @param roms the firmware that it loaded from files
/// @param vnc as [VncServer#services]; empty when it was built without VNC
/// @param hostPorts as [HostPort#open]
/// @param sets the descriptors behind each `/dev/fdset/`, by its number; those of the command line
///   have other numbers by now
/// @param obstacles what of its present doings keeps it from moving, one sentence each
record LiveMachine(
    String version,
    String machine,
    String defaultCpu,
    LiveProcessor processor,
    Accelerator accelerator,
    int vcpus,
    LiveMemory memory,
    List<Image> images,
    Set<String> files,
    Set<String> devices,
    int namelessDevices,
    MachineIdentity identity,
    List<ForeignFirmware.Rom> roms,
    Optional<Set<String>> vnc,
    Set<String> hostPorts,
    Map<String, List<Integer>> sets,
    List<String> obstacles) {

  private static final Pattern VERSION =
      Pattern.compile("([0-9]{1,4})\\.([0-9]{1,4})(?:\\D.*)?", Pattern.DOTALL);

  private static final Pattern MACHINE =
      Pattern.compile("pc-(?:q35|i440fx)-([0-9]{1,4}\\.[0-9]{1,4})(?:\\+pve[0-9]{1,4})?");

  /// A block device's open image.
  record Image(String file, String format, boolean readOnly) {
    private static final String CHAIN = "json:";

    /// As QEMU reports it. A node that only filters, such as `throttle`, has no file of its own,
    /// and is reported as the whole chain below it.
    static Image reported(String file, String driver, boolean readOnly) {
      if (!file.startsWith(CHAIN)) {
        return new Image(file, driver, readOnly);
      }
      try {
        Suboptions chain = Suboptions.parse(file.substring(CHAIN.length()), "");
        String node = "";
        while (FILTERS.contains(chain.get(node + "driver", ""))) {
          node += "file.";
        }
        String format = chain.get(node + "driver", driver);
        while (chain.get(node + "filename").isEmpty() && chain.get(node + "driver").isPresent()) {
          node += "file.";
        }
        return new Image(chain.get(node + "filename", file), format, readOnly);
      } catch (Suboptions.MalformedException e) {
        return new Image(file, driver, readOnly);
      }
    }
  }

  private static final Set<String> FILTERS = Set.of("throttle");

  /// Asks a running QEMU.
  ///
  /// @throws Qmp.QmpException when a question is not answered
  static LiveMachine ask(MachineIdentity.Respondent qmp) {
    JsonNode version = qmp.execute("query-version", Map.of()).path("qemu");
    String type =
        qmp.execute("qom-get", Map.of("path", "/machine", "property", "type")).asString("");
    String machine = type.replaceFirst("-machine$", "");
    if (machine.isEmpty()) {
      throw new Qmp.QmpException("it does not say which machine it has");
    }
    Set<String> devices = children(qmp, "/machine/peripheral");
    return new LiveMachine(
        version.path("major").asInt()
            + "."
            + version.path("minor").asInt()
            + "."
            + version.path("micro").asInt(),
        machine,
        defaultCpu(qmp, machine),
        LiveProcessor.ask(qmp),
        qmp.execute("query-kvm", Map.of()).path("enabled").asBoolean(false)
            ? Accelerator.KVM
            : Accelerator.TCG,
        qmp.execute("query-cpus-fast", Map.of()).size(),
        LiveMemory.ask(qmp),
        images(qmp),
        files(qmp),
        devices,
        children(qmp, "/machine/peripheral-anon").size(),
        MachineIdentity.ask(qmp),
        ForeignFirmware.loaded(qmp),
        vnc(qmp),
        HostPort.open(qmp),
        sets(qmp.execute("query-fdsets", Map.of())),
        obstacles(qmp));
  }

  /// A machine that is not asked: all that is known of it is what its command line says, and
  /// perhaps which version its program has.
  ///
  /// @param version empty when it is not known
  static LiveMachine unseen(ForeignPieces pieces, String version) {
    return new LiveMachine(
        version.isEmpty() ? least(pieces) : version,
        "",
        "",
        LiveProcessor.UNSEEN,
        Accelerator.TCG,
        0,
        LiveMemory.UNSEEN,
        List.of(),
        Set.of(),
        Set.of(),
        0,
        new MachineIdentity(Map.of(), List.of(), List.of(), "", SeenProcessor.UNKNOWN, Map.of()),
        List.of(),
        Optional.empty(),
        Set.of(),
        Map.of(),
        List.of());
  }

  /// No release is older than its machine types. That is of use only if all from there on do the
  /// same.
  private static String least(ForeignPieces pieces) {
    return pieces
        .of(ForeignOption.MACHINE, ForeignOption.M_MACHINE)
        .flatMap(piece -> piece.pairs("type").get("type").stream())
        .map(MACHINE::matcher)
        .filter(Matcher::matches)
        .map(type -> type.group(1))
        .filter(least -> copiesMemFds(least).orElse(false))
        .findFirst()
        .orElse("");
  }

  /// Whether a running QEMU has been asked.
  boolean isSeen() {
    return !machine.isEmpty();
  }

  private static Optional<Set<String>> vnc(MachineIdentity.Respondent qmp) {
    try {
      return Optional.of(VncServer.services(qmp));
    } catch (Qmp.QmpException e) {
      if (e.unanswered()) {
        throw e;
      }
      return Optional.empty();
    }
  }

  private static String defaultCpu(MachineIdentity.Respondent qmp, String machine) {
    return qmp.execute("query-machines", Map.of())
        .valueStream()
        .filter(m -> m.path("name").asString("").equals(machine))
        .map(m -> m.path("default-cpu-type").asString("").replaceFirst("-x86_64-cpu$", ""))
        .findFirst()
        .orElse("");
  }

  private static Set<String> children(MachineIdentity.Respondent qmp, String path) {
    Set<String> names = new TreeSet<>();
    MachineIdentity.children(qmp, path).forEach(child -> names.add(child.name()));
    return names;
  }

  private static List<Image> images(MachineIdentity.Respondent qmp) {
    List<Image> images = new ArrayList<>();
    qmp.execute("query-block", Map.of())
        .forEach(device -> {
          JsonNode inserted = device.path("inserted");
          if (inserted.isObject()) {
            images.add(
                Image.reported(
                    inserted.path("file").asString(""),
                    inserted.path("drv").asString(""),
                    inserted.path("ro").asBoolean(false)));
          }
        });
    return images;
  }

  private static Set<String> files(MachineIdentity.Respondent qmp) {
    Set<String> files = new TreeSet<>();
    qmp.execute("query-named-block-nodes", Map.of("flat", true))
        .forEach(node -> files.add(node.path("file").asString("")));
    return files;
  }

  /// @param answer of `query-fdsets`
  static Map<String, List<Integer>> sets(JsonNode answer) {
    Map<String, List<Integer>> sets = new HashMap<>();
    answer.forEach(set ->
        sets.put(
            set.path("fdset-id").asString(""),
            set.path("fds").valueStream().map(fd -> fd.path("fd").asInt(-1)).toList()));
    return sets;
  }

  private static List<String> obstacles(MachineIdentity.Respondent qmp) {
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
    qmp.execute("query-memory-devices", Map.of())
        .forEach(device ->
            obstacles.add(
                "Its memory device "
                    + device.path("data").path("id").asString("without a name")
                    + " ("
                    + device.path("type").asString("")
                    + ") cannot be moved yet; unplug it."));
    return obstacles;
  }

  /// The same with the images behind descriptors that it was passed by their paths.
  ///
  /// @param sets the paths, as [ForeignProcess#images]
  LiveMachine byPath(Map<String, Path> sets) {
    return new LiveMachine(
        version,
        machine,
        defaultCpu,
        processor,
        accelerator,
        vcpus,
        memory,
        images.stream()
            .map(image -> new Image(byPath(image.file(), sets), image.format(), image.readOnly()))
            .toList(),
        files.stream()
            .map(file -> byPath(file, sets))
            .collect(Collectors.toCollection(TreeSet::new)),
        devices,
        namelessDevices,
        identity,
        roms,
        vnc,
        hostPorts,
        this.sets,
        obstacles);
  }

  private static String byPath(String file, Map<String, Path> sets) {
    Path path = sets.get(file);
    return path == null ? file : path.toString();
  }

  /// The format of the image that was opened as `file`.
  Optional<String> format(Path file) {
    return images.stream()
        .filter(image -> image.file().equals(file.toString()))
        .map(Image::format)
        .findFirst();
  }

  /// Whether this version leaves only *named* files out of a migration, and sends a memfd's pages:
  /// from 8.1 on (`RAM_NAMED_FILE`). Empty when its version is not known.
  Optional<Boolean> copiesMemFds() {
    return copiesMemFds(version);
  }

  private static Optional<Boolean> copiesMemFds(String version) {
    Matcher numbers = VERSION.matcher(version);
    if (!numbers.matches()) {
      return Optional.empty();
    }
    int major = Integer.parseInt(numbers.group(1));
    return Optional.of(major > 8 || (major == 8 && Integer.parseInt(numbers.group(2)) >= 1));
  }
}
