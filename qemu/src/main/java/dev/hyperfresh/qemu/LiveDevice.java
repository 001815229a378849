package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.StringNode;

/// A device of a running QEMU that an option or a monitor made.
///
/// @param path of it among QEMU's objects
/// @param type as QEMU calls it
/// @param id empty when it has no name
record LiveDevice(String path, String type, String id) {
  static final String PROCESSOR = "-x86_64-cpu";

  private static final String NAMED = "/machine/peripheral";
  private static final String NAMELESS = "/machine/peripheral-anon";
  private static final String OBJECTS = "/objects/";
  private static final String USB = "usb-";
  private static final String PORT = "port";
  private static final String ROM = "romfile";

  /// More than any device has: 11.1 has some 120.
  private static final int MAX_PROPERTIES = 500;

  /// Where it is on its bus, by whichever of these a bus of that kind counts.
  private static final List<String> PLACES = List.of("channel", "scsi-id", "lun", "unit", "nr");

  /// What a command line does not say: where it is, which is asked for apart; what is made with it;
  /// and what only machine types of other versions set, in releases that know of it.
  private static final Set<String> NOT_SAID =
      Set.of(
          "addr",
          "attached",
          "command_serr_enable",
          "extra_mac_registers",
          "guest-stats",
          "guest-stats-polling-interval",
          "guest_tunnel",
          "guest_tunnel_csum",
          "guest_uso4",
          "guest_uso6",
          "host_tunnel",
          "host_tunnel_csum",
          "host_uso",
          "init-vet",
          "len-iothread-vq-mapping",
          "len-stats-intervals",
          "migrate-emulated-scsi-request",
          "migrate-extra",
          "migrate-timadj",
          "migrate_tso_props",
          "mitigation",
          "modern-pio-notify",
          "queue_reset",
          "report-discard-granularity",
          "seg-max-adjust",
          "stats-intervals",
          "use-disabled-flag",
          "use-started",
          "virtio-pci-bus-master-bug-migration");

  /// Whose number of interrupts is theirs to say in every release.
  private static final Set<String> WITH_VECTORS =
      Set.of("virtio-blk-pci", "virtio-net-pci", "virtio-scsi-pci", "virtio-serial-pci");

  /// The boot ROM that a card has by itself.
  private static final Pattern OWN_ROM =
      Pattern.compile("efi-[a-z0-9]{1,20}\\.rom|vgabios[a-z-]{0,20}\\.bin");

  /// HMP `info usb`.
  private static final Pattern USB_PORT =
      Pattern.compile(
          " *Device [0-9]{1,9}\\.[0-9]{1,9}, Port ([0-9.]{1,16}), .*, ID: (\\S{1,200}) *");

  /// Those that have a name.
  static List<LiveDevice> named(MachineIdentity.Respondent qemu) {
    return MachineIdentity.children(qemu, NAMED).stream()
        .map(child -> new LiveDevice(NAMED + "/" + child.name(), child.type(), child.name()))
        .toList();
  }

  /// Those without one, in the order in which they were made.
  static List<LiveDevice> nameless(MachineIdentity.Respondent qemu) {
    return MachineIdentity.numbered(qemu, NAMELESS).stream()
        .map(child -> new LiveDevice(NAMELESS + "/" + child.name(), child.type(), ""))
        .toList();
  }

  boolean isProcessor() {
    return type.endsWith(PROCESSOR);
  }

  /// For people.
  String called() {
    return (id.isEmpty() ? "a device without a name" : "the device " + id) + " (" + type + ")";
  }

  /// The text of a property; empty where it has no such property.
  Optional<String> text(MachineIdentity.Respondent qemu, String property) {
    return value(qemu, property).map(ChangedLine::text);
  }

  private Optional<JsonNode> value(MachineIdentity.Respondent qemu, String property) {
    return qemu.asked("qom-get", Map.of("path", path, "property", property));
  }

  /// The bus that it is on, among QEMU's objects; empty when it is on none.
  String bus(MachineIdentity.Respondent qemu) {
    return text(qemu, "parent_bus").orElse("");
  }

  /// On which bus it is, and where there.
  Map<String, JsonNode> place(MachineIdentity.Respondent qemu) {
    Map<String, JsonNode> place = new LinkedHashMap<>();
    String bus = bus(qemu);
    if (!bus.isEmpty()) {
      place.put("bus", string(bus.substring(bus.lastIndexOf('/') + 1)));
    }
    value(qemu, "addr")
        .filter(JsonNode::isIntegralNumber)
        .map(is -> is.asInt(-1))
        .filter(function -> function >= 0 && function < 0x100)
        .ifPresent(function ->
            place.put(
                "addr",
                string(String.format(Locale.ROOT, "%02x.%x", function >> 3, function & 7))));
    for (String key : PLACES) {
      value(qemu, key)
          .filter(is -> is.isIntegralNumber() || (is.isString() && !is.asString().isEmpty()))
          .ifPresent(is -> place.put(key, is));
    }
    if (type.startsWith(USB)) {
      text(qemu, PORT)
          .filter(port -> !port.isEmpty())
          .or(() -> chosenPort(qemu))
          .ifPresent(port -> place.put(PORT, string(port)));
    }
    return place;
  }

  /// QEMU tells the port that it has chosen only of devices with a name.
  private Optional<String> chosenPort(MachineIdentity.Respondent qemu) {
    return qemu
        .asked("human-monitor-command", Map.of("command-line", "info usb"))
        .map(table -> table.asString(""))
        .stream()
        .flatMap(String::lines)
        .map(USB_PORT::matcher)
        .filter(Matcher::matches)
        .filter(device -> !id.isEmpty() && device.group(2).equals(id))
        .map(device -> device.group(1))
        .findFirst();
  }

  /// All that `-device` has to say to make it again: in what it differs from a new one of its type.
  ///
  /// @param faults gets what cannot be said, one sentence each without a full stop
  /// @param objects gets the names of the objects that it uses
  Map<String, JsonNode> pairs(
      MachineIdentity.Respondent qemu, List<String> faults, Set<String> objects) {
    Map<String, JsonNode> pairs = new LinkedHashMap<>();
    pairs.put("driver", string(type));
    if (!id.isEmpty()) {
      pairs.put("id", string(id));
    }
    if (isProcessor()) {
      pairs.putAll(socket(qemu, faults));
      return pairs;
    }
    pairs.putAll(place(qemu));
    if (type.startsWith(USB) && !pairs.containsKey(PORT)) {
      faults.add("QEMU does not say at which port " + called() + " is");
    }
    List<JsonNode> all = new ArrayList<>();
    qemu.asked("device-list-properties", Map.of("typename", type))
        .ifPresentOrElse(
            properties -> properties.forEach(all::add),
            () -> faults.add("QEMU does not say what can be set of " + called()));
    if (all.size() > MAX_PROPERTIES) {
      throw new Qmp.QmpException(type + " has more than " + MAX_PROPERTIES + " properties");
    }
    boolean isCard = all.stream().anyMatch(property -> name(property).equals("mac"));
    for (JsonNode property : all) {
      String name = name(property);
      if (isSaid(property) && !pairs.containsKey(name)) {
        value(qemu, name)
            .flatMap(is -> said(property, is, isCard, faults, objects))
            .ifPresent(is -> pairs.put(name, is));
      }
    }
    return pairs;
  }

  private static String name(JsonNode property) {
    return property.path("name").asString("");
  }

  private boolean isSaid(JsonNode property) {
    String name = name(property);
    boolean isOwn = property.path("type").asString("").startsWith("child<");
    boolean isVectors =
        name.equals("vectors") && !WITH_VECTORS.contains(MachineIdentity.plain(type));
    return !name.isEmpty()
        && !name.startsWith("x-")
        && !isOwn
        && !isVectors
        && !NOT_SAID.contains(name);
  }

  /// The value as it is to be written; empty where a new device has it by itself.
  private Optional<JsonNode> said(
      JsonNode property, JsonNode is, boolean isCard, List<String> faults, Set<String> objects) {
    String name = name(property);
    if (property.path("type").asString("").startsWith("link<")) {
      return linked(name, is.asString(""), faults, objects);
    }
    if (is.isContainer() && !is.isEmpty()) {
      faults.add("How " + name + " of " + called() + " is set cannot be written down");
      return Optional.empty();
    }
    if (is.isContainer() || is.isNull()) {
      return Optional.empty();
    }
    String text = is.asString("");
    if (name.equals(ROM)) {
      boolean isOwn = text.isEmpty() ? !isCard : OWN_ROM.matcher(text).matches();
      return isOwn ? Optional.empty() : Optional.of(is);
    }
    JsonNode usual = property.path("default-value");
    boolean isUsual =
        usual.isMissingNode()
            ? Set.of("", "0", "false", "-1").contains(text)
            : usual.asString("").equals(text);
    return isUsual ? Optional.empty() : Optional.of(is);
  }

  /// An object by its name; one that the device has made for itself it makes again.
  private Optional<JsonNode> linked(
      String name, String target, List<String> faults, Set<String> objects) {
    if (target.startsWith(OBJECTS)) {
      String object = target.substring(OBJECTS.length());
      objects.add(object);
      return Optional.of(string(object));
    }
    if (!target.isEmpty() && !target.startsWith(path + "/")) {
      faults.add("What " + name + " of " + called() + " leads to cannot be written down");
    }
    return Optional.empty();
  }

  /// Which processor of the machine it is.
  private Map<String, JsonNode> socket(MachineIdentity.Respondent qemu, List<String> faults) {
    Map<String, JsonNode> socket = new LinkedHashMap<>();
    qemu.asked("query-hotpluggable-cpus", Map.of()).stream()
        .flatMap(JsonNode::valueStream)
        .filter(cpu -> cpu.path("qom-path").asString("").equals(path))
        .findFirst()
        .ifPresent(cpu ->
            cpu.path("props")
                .forEachEntry((key, is) -> {
                  if (is.isIntegralNumber()) {
                    socket.put(key, is);
                  }
                }));
    if (socket.isEmpty()) {
      faults.add("QEMU does not say which processor " + called() + " is");
    }
    return socket;
  }

  static JsonNode string(String text) {
    return StringNode.valueOf(text);
  }
}
