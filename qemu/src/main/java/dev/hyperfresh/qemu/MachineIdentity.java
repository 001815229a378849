package dev.hyperfresh.qemu;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/// By what a guest can tell its machine from another one that was built alike: addresses, serial
/// numbers, generation id, sizes of firmware. A QEMU makes up some of them at its start and counts
/// others, so only the one that runs knows them. Read with questions that the guest does not
/// notice.
///
/// @param named the devices that were given a name, by it
/// @param nameless the devices that were made without one, in the order in which they were made
/// @param builtIn those which the machine made by itself, in that order; only those of
///   [#PROPERTIES]
/// @param uuid of the system
/// @param processor what the guest sees of it
/// @param blocks the blocks of memory that a migration sends, or leaves out, by name
record MachineIdentity(
    Map<String, Device> named,
    List<Device> nameless,
    List<Device> builtIn,
    String uuid,
    SeenProcessor processor,
    Map<String, Block> blocks) {

  /// How long all answers about a machine may take: there are as many questions as it says that it
  /// has devices.
  static final Duration LIMIT = Duration.ofSeconds(60);

  /// More devices than any machine here has.
  private static final int MAX_DEVICES = 2000;

  private static final List<String> DISK =
      List.of(
          "serial",
          "wwn",
          "port_wwn",
          "ver",
          "model",
          "device_id",
          "vendor",
          "product",
          "channel",
          "scsi-id",
          "lun",
          "unit");
  private static final List<String> PORT = List.of("nr");

  /// Where it is on a PCI bus.
  private static final String FUNCTION = "addr";

  private static final List<String> CARD = List.of("mac");
  private static final List<String> USB = List.of("serial");

  /// What each type of device shows its guest of who it is.
  static final Map<String, List<String>> PROPERTIES =
      Map.ofEntries(
          Map.entry("vmgenid", List.of("guid")),
          Map.entry("virtio-net-pci", CARD),
          Map.entry("e1000", CARD),
          Map.entry("e1000e", CARD),
          Map.entry("rtl8139", CARD),
          Map.entry("e1000-82544gc", CARD),
          Map.entry("e1000-82545em", CARD),
          Map.entry("pcnet", CARD),
          Map.entry("ne2k_pci", CARD),
          Map.entry("vmxnet3", CARD),
          Map.entry("mptsas1068", List.of("sas_address")),
          Map.entry("usb-storage", USB),
          Map.entry("usb-bot", USB),
          Map.entry("ide-hd", DISK),
          Map.entry("ide-cd", DISK),
          Map.entry("scsi-hd", DISK),
          Map.entry("scsi-cd", DISK),
          Map.entry("virtserialport", PORT),
          Map.entry("virtconsole", PORT),
          Map.entry("virtio-blk-pci", List.of("serial")),
          Map.entry("megasas", List.of("sas_address", "hba_serial")),
          Map.entry("usb-hub", USB),
          Map.entry("usb-kbd", USB),
          Map.entry("usb-mouse", USB),
          Map.entry("usb-tablet", USB));

  /// Those that QEMU makes up or counts where its command line does not say, and takes from it.
  static final Map<String, String> MADE_UP =
      Map.ofEntries(
          Map.entry("vmgenid", "guid"),
          Map.entry("virtio-net-pci", "mac"),
          Map.entry("e1000", "mac"),
          Map.entry("e1000-82544gc", "mac"),
          Map.entry("e1000-82545em", "mac"),
          Map.entry("e1000e", "mac"),
          Map.entry("rtl8139", "mac"),
          Map.entry("pcnet", "mac"),
          Map.entry("ne2k_pci", "mac"),
          Map.entry("vmxnet3", "mac"),
          Map.entry("ide-hd", "serial"),
          Map.entry("ide-cd", "serial"));

  /// What else QEMU calls some types of devices, in all its releases.
  private static final Map<String, String> ALIASES =
      Map.ofEntries(
          Map.entry("virtio-balloon", "virtio-balloon-pci"),
          Map.entry("virtio-blk", "virtio-blk-pci"),
          Map.entry("virtio-gpu", "virtio-gpu-pci"),
          Map.entry("virtio-keyboard", "virtio-keyboard-pci"),
          Map.entry("virtio-mouse", "virtio-mouse-pci"),
          Map.entry("virtio-net", "virtio-net-pci"),
          Map.entry("virtio-rng", "virtio-rng-pci"),
          Map.entry("virtio-scsi", "virtio-scsi-pci"),
          Map.entry("virtio-serial", "virtio-serial-pci"),
          Map.entry("virtio-tablet", "virtio-tablet-pci"),
          Map.entry("ahci", "ich9-ahci"),
          Map.entry("lsi", "lsi53c895a"),
          Map.entry("e1000-82540em", "e1000"),
          Map.entry("ac97", "AC97"),
          Map.entry("es1370", "ES1370"));

  private static final Pattern CHILD = Pattern.compile("child<(.*)>");
  private static final Pattern NUMBERED = Pattern.compile("device\\[([0-9]{1,9})]");

  /// HMP `info ramblock`: name, page size, offset, used and total length.
  private static final Pattern BLOCK =
      Pattern.compile(
          "\\s*(\\S+)\\s+[0-9]+ \\S+\\s+0x[0-9a-f]+\\s+0x([0-9a-f]{16})\\s+0x([0-9a-f]{16})\\b.*");

  /// A device.
  ///
  /// @param type without `-transitional`
  /// @param properties those of [#PROPERTIES] that it has, and its place on a PCI bus
  record Device(String type, Map<String, String> properties) {}

  /// A block of memory.
  ///
  /// @param used bytes
  /// @param total to how many it may grow
  record Block(long used, long total) {}

  /// Something that answers QMP commands.
  interface Respondent {
    /// @throws Qmp.QmpException when it refuses or does not answer
    JsonNode execute(String command, Map<String, ?> arguments);

    /// The same, which is asked nothing more when `limit` is over.
    default Respondent within(Duration limit) {
      long end = System.nanoTime() + limit.toNanos();
      return (command, arguments) -> {
        if (System.nanoTime() - end >= 0) {
          throw Qmp.QmpException.late(
              "it takes more than " + limit.toSeconds() + " s to answer all questions");
        }
        return execute(command, arguments);
      };
    }

    /// As [#execute]; empty when it refuses.
    default Optional<JsonNode> asked(String command, Map<String, ?> arguments) {
      try {
        return Optional.of(execute(command, arguments));
      } catch (Qmp.QmpException e) {
        if (e.unanswered()) {
          throw e;
        }
        return Optional.empty();
      }
    }
  }

  /// A child of a QOM object.
  record Child(String name, String type) {}

  /// Asks all.
  ///
  /// @throws Qmp.QmpException when a question is not answered, or all together take too long
  static MachineIdentity ask(Respondent asked) {
    Respondent qemu = asked.within(LIMIT);
    Map<String, Device> named = new TreeMap<>();
    children(qemu, "/machine/peripheral")
        .forEach(child -> named.put(child.name(), device(qemu, "/machine/peripheral", child)));
    return new MachineIdentity(
        named,
        numbered(qemu, "/machine/peripheral-anon").stream()
            .map(child -> device(qemu, "/machine/peripheral-anon", child))
            .toList(),
        numbered(qemu, "/machine/unattached").stream()
            .filter(child -> PROPERTIES.containsKey(plain(child.type())))
            .map(child -> device(qemu, "/machine/unattached", child))
            .toList(),
        qemu.execute("query-uuid", Map.of()).path("UUID").asString(""),
        SeenProcessor.ask(qemu),
        blocks(monitor(qemu, "info ramblock")));
  }

  /// What the monitor for people answers, which tells more than QMP does.
  static String monitor(Respondent qemu, String line) {
    return qemu.execute("human-monitor-command", Map.of("command-line", line)).asString("");
  }

  /// A device's type or driver without the suffix that says which virtio it speaks, and its type
  /// where it is called otherwise.
  static String plain(String type) {
    String plain = type.replaceFirst("-(non-)?transitional$", "");
    return ALIASES.getOrDefault(plain, plain);
  }

  /// @throws Qmp.QmpException when there are more than any machine has
  static List<Child> children(Respondent qemu, String path) {
    List<Child> children = new ArrayList<>();
    for (JsonNode item : qemu.execute("qom-list", Map.of("path", path))) {
      Matcher type = CHILD.matcher(item.path("type").asString(""));
      if (type.matches()) {
        children.add(new Child(item.path("name").asString(""), type.group(1)));
      }
    }
    if (children.size() > MAX_DEVICES) {
      throw new Qmp.QmpException(path + " has more than " + MAX_DEVICES + " devices");
    }
    return children;
  }

  /// The children without a name of their own, in the order in which they were made.
  static List<Child> numbered(Respondent qemu, String path) {
    return children(qemu, path).stream()
        .filter(child -> NUMBERED.matcher(child.name()).matches())
        .sorted(Comparator.comparingInt(MachineIdentity::number))
        .toList();
  }

  private static int number(Child child) {
    Matcher number = NUMBERED.matcher(child.name());
    return number.matches() ? Integer.parseInt(number.group(1)) : 0;
  }

  private static Device device(Respondent qemu, String folder, Child child) {
    String type = plain(child.type());
    Map<String, String> properties = new LinkedHashMap<>();
    for (String property : PROPERTIES.getOrDefault(type, List.of())) {
      property(qemu, folder + "/" + child.name(), property)
          .ifPresent(value -> properties.put(property, value));
    }
    property(qemu, folder + "/" + child.name(), FUNCTION)
        .ifPresent(value -> properties.put(FUNCTION, value));
    return new Device(type, properties);
  }

  /// A property's value; empty where the object has no such property.
  static Optional<String> property(Respondent qemu, String path, String property) {
    return qemu.asked("qom-get", Map.of("path", path, "property", property))
        .map(value -> value.asString(""));
  }

  private static Map<String, Block> blocks(String table) {
    Map<String, Block> blocks = new TreeMap<>();
    table
        .lines()
        .map(BLOCK::matcher)
        .filter(Matcher::matches)
        .forEach(block ->
            blocks.put(
                block.group(1),
                new Block(
                    Long.parseUnsignedLong(block.group(2), 16),
                    Long.parseUnsignedLong(block.group(3), 16))));
    if (blocks.isEmpty()) {
      throw new Qmp.QmpException("it does not report its memory");
    }
    return blocks;
  }

  /// The devices which `devices` made, in the order of `devices`, the values of `-device`; empty
  /// for one that is not there or is something else.
  ///
  /// QEMU makes those of `key=value` pairs first, then those of drives with `if=virtio`, then those
  /// that are written as JSON.
  ///
  /// @param virtioDrives how many drives with `if=virtio` there are
  List<Optional<Device>> of(List<Suboptions> devices, int virtioDrives) {
    List<Suboptions> unnamed =
        devices.stream().filter(device -> device.get("id").isEmpty()).toList();
    int json = (int) unnamed.stream().filter(device -> !device.json()).count() + virtioDrives;
    int pairs = 0;
    List<Optional<Device>> found = new ArrayList<>();
    for (Suboptions device : devices) {
      Optional<Device> live;
      if (device.get("id").isPresent()) {
        live = device.get("id").map(named::get);
      } else {
        int place = device.json() ? json++ : pairs++;
        live = place < nameless.size() ? Optional.of(nameless.get(place)) : Optional.empty();
      }
      String driver = plain(device.get("driver", ""));
      found.add(live.filter(is -> is.type().equals(driver)));
    }
    return found;
  }

  /// How a machine that is to take this one's place differs from it, one sentence each; empty when
  /// the guest could not tell them apart and the memory fits.
  ///
  /// @param name what runs the other machine
  List<String> differences(MachineIdentity other, String name) {
    List<String> differences = new ArrayList<>(blockDifferences(other, name));
    if (!uuid.equals(other.uuid)) {
      differences.add(differs("the system's UUID", uuid, other.uuid, name));
    }
    named.forEach((id, device) ->
        Optional.ofNullable(other.named.get(id))
            .ifPresentOrElse(
                there -> compare(id, device, there, name, differences),
                () -> differences.add("the device " + id + " is missing with " + name)));
    other.named.keySet().stream()
        .filter(id -> !named.containsKey(id))
        .forEach(id -> differences.add("the device " + id + " is there only with " + name));
    compare(nameless, other.nameless, name, differences);
    compare(builtIn, other.builtIn, name, differences);
    return differences;
  }

  /// Where a block of memory of this machine finds no place in `other`.
  List<String> blockDifferences(MachineIdentity other, String name) {
    List<String> differences = new ArrayList<>();
    blocks.forEach((block, here) -> {
      Block there = other.blocks.get(block);
      if (there == null) {
        differences.add("the memory block " + block + " is missing with " + name);
      } else if (!fits(here, there)) {
        differences.add(differs("the memory block " + block, bytes(here), bytes(there), name));
      }
    });
    return differences;
  }

  /// A block that may grow is made to fit as long as there is room.
  private static boolean fits(Block here, Block there) {
    boolean grows = there.used() < there.total();
    return grows ? here.used() <= there.total() : here.used() == there.used();
  }

  private static String bytes(Block block) {
    return "0x" + Long.toHexString(block.used()) + " bytes";
  }

  private static void compare(
      List<Device> here, List<Device> there, String name, List<String> differences) {
    for (int i = 0; i < Math.min(here.size(), there.size()); i++) {
      compare(here.get(i).type(), here.get(i), there.get(i), name, differences);
    }
  }

  private static void compare(
      String what, Device here, Device there, String name, List<String> differences) {
    here.properties()
        .forEach((property, value) -> {
          String other = there.properties().getOrDefault(property, value);
          if (!value.equals(other)) {
            differences.add(differs(property + " of " + what, value, other, name));
          }
        });
  }

  static String differs(String what, String here, String there, String name) {
    return what + " is '" + here + "' and would be '" + there + "' with " + name;
  }
}
