package dev.hyperfresh.qemu;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import tools.jackson.databind.JsonNode;

/// The devices of a foreign command line beside those that its QEMU has by now: what was unplugged
/// leaves the line, what was plugged is added to it, and what stayed keeps its place.
final class PluggedDevices {
  /// More than anybody plugs.
  private static final int MOST_PLUGGED = 200;

  private static final String DRIVER = "driver";
  private static final String DRIVE = "drive";

  /// It gives its drive to a disk inside it and does not name it any more.
  private static final String SILENT_OF_DRIVE = "usb-storage";

  /// By what a device is another one than that of the same name on the line.
  private static final List<String> TELLING =
      List.of(
          "netdev", "chardev", "serial", "mac", "name", "nr", "channel", "scsi-id", "lun", "unit",
          "port");

  /// They are refused for a reason of their own ([LiveMachine#obstacles]).
  private static final Set<String> MEMORIES =
      Set.of("pc-dimm", "nvdimm", "virtio-mem-pci", "virtio-pmem-pci");

  private static final Set<String> CHOSEN_BY_QEMU = Set.of("", "auto");

  private final ChangedLine line;
  private final MachineIdentity.Respondent qemu;

  /// Devices of the line that are still there.
  private final Map<ChangedLine.Item, LiveDevice> kept = new LinkedHashMap<>();

  private final List<LiveDevice> plugged = new ArrayList<>();
  private final Map<LiveDevice, Map<String, JsonNode>> pairs = new LinkedHashMap<>();
  private final Map<LiveDevice, Set<String>> objects = new HashMap<>();
  private final Map<LiveDevice, String> buses = new HashMap<>();
  private final Set<String> drives = new LinkedHashSet<>();
  private boolean hasGaps;

  PluggedDevices(ChangedLine line, MachineIdentity.Respondent qemu) {
    this.line = line;
    this.qemu = qemu;
  }

  /// Finds out which are which, and asks what those are like that were plugged.
  void match() {
    List<ChangedLine.Item> nameless = new ArrayList<>();
    Map<String, LiveDevice> named = new TreeMap<>();
    LiveDevice.named(qemu).forEach(device -> named.put(device.id(), device));
    for (ChangedLine.Item item : line.of(ForeignOption.DEVICE)) {
      Suboptions device = item.pairs(DRIVER);
      Optional<String> id = device.get("id");
      if (id.isEmpty()) {
        nameless.add(item);
      } else {
        Optional<LiveDevice> live = Optional.ofNullable(named.remove(id.get()));
        // A card that stands by is not there as long as the guest does not take it.
        if (device.get("failover_pair_id").isEmpty()) {
          match(item, device, live, id.get());
        }
      }
    }
    plugged.addAll(named.values());
    matchNameless(nameless);
    plugged.removeIf(device -> MEMORIES.contains(device.type()));
    if (plugged.size() > MOST_PLUGGED) {
      throw new Qmp.QmpException("it has more than " + MOST_PLUGGED + " plugged devices");
    }
    plugged.forEach(this::describe);
    kept.forEach(this::followDrive);
    if (hasGaps) {
      keepPlaces();
    }
  }

  private void match(
      ChangedLine.Item item, Suboptions device, Optional<LiveDevice> live, String id) {
    if (live.filter(is -> isSame(device, is)).isPresent()) {
      kept.put(item, live.get());
      return;
    }
    line.remove(item);
    hasGaps = true;
    live.ifPresentOrElse(
        plugged::add,
        () ->
            line.remark(
                "Its device "
                    + id
                    + " was unplugged since its start, and later processes do"
                    + " without it"));
  }

  private boolean isSame(Suboptions device, LiveDevice live) {
    String driver = MachineIdentity.plain(device.get(DRIVER, ""));
    return driver.equals(MachineIdentity.plain(live.type()))
        && TELLING.stream().allMatch(key -> agrees(key, device, live))
        && isOnItsBus(device, live);
  }

  private boolean agrees(String key, Suboptions device, LiveDevice live) {
    Optional<String> given = device.get(key).filter(is -> !CHOSEN_BY_QEMU.contains(is));
    if (given.isEmpty()) {
      return true;
    }
    Optional<String> now = live.text(qemu, key).filter(is -> !is.isEmpty());
    return now.isEmpty()
        || now.get().equalsIgnoreCase(given.get())
        || number(now.get()).filter(is -> number(given.get()).equals(Optional.of(is))).isPresent();
  }

  private static Optional<Long> number(String text) {
    try {
      return Optional.of(Long.decode(text));
    } catch (NumberFormatException e) {
      return Optional.empty();
    }
  }

  private boolean isOnItsBus(Suboptions device, LiveDevice live) {
    Optional<String> given = device.get("bus").filter(bus -> !bus.contains("/"));
    return given.isEmpty() || live.bus(qemu).endsWith("/" + given.get());
  }

  /// QEMU makes those of pairs first, then those of drives with `if=virtio`, then those of JSON. If
  /// these are not there in this order any more, the line is left as it is, and refused as such.
  private void matchNameless(List<ChangedLine.Item> items) {
    List<Optional<ChangedLine.Item>> expected = new ArrayList<>();
    items.stream().filter(item -> !item.isJson()).map(Optional::of).forEach(expected::add);
    virtioDrives().forEach(_ -> expected.add(Optional.empty()));
    items.stream().filter(ChangedLine.Item::isJson).map(Optional::of).forEach(expected::add);
    List<LiveDevice> live = LiveDevice.nameless(qemu);
    if (live.size() < expected.size()) {
      return;
    }
    for (int i = 0; i < expected.size(); i++) {
      String driver =
          expected.get(i).map(item -> item.pairs(DRIVER).get(DRIVER, "")).orElse("virtio-blk-pci");
      if (!MachineIdentity.plain(driver).equals(MachineIdentity.plain(live.get(i).type()))) {
        return;
      }
    }
    for (int i = 0; i < expected.size(); i++) {
      LiveDevice device = live.get(i);
      expected.get(i).ifPresent(item -> kept.put(item, device));
    }
    plugged.addAll(live.subList(expected.size(), live.size()));
  }

  private List<ChangedLine.Item> virtioDrives() {
    return line.of(ForeignOption.DRIVE).stream()
        .filter(item -> item.pairs("file").get("if", "").equals("virtio"))
        .toList();
  }

  private void describe(LiveDevice device) {
    List<String> faults = new ArrayList<>();
    Set<String> uses = new LinkedHashSet<>();
    Map<String, JsonNode> all = device.pairs(qemu, faults, uses);
    faults.forEach(line::refuse);
    objects.put(device, uses);
    buses.put(device, device.bus(qemu));
    if (device.type().equals(SILENT_OF_DRIVE)) {
      line.refuse("QEMU does not say which drive " + device.called() + " has; unplug it");
    }
    Optional.ofNullable(all.get(DRIVE)).ifPresent(drive -> drives.add(drive.asString("")));
    pairs.put(device, all);
    line.remark("It has " + device.called() + ", which was plugged since its start");
  }

  /// The block node at the top may be another one: a medium was changed, or a snapshot was taken.
  private void followDrive(ChangedLine.Item item, LiveDevice device) {
    Optional<String> given = item.pairs(DRIVER).get(DRIVE);
    if (given.isEmpty() || device.type().equals(SILENT_OF_DRIVE)) {
      return;
    }
    Optional<String> now = device.text(qemu, DRIVE);
    if (now.isEmpty() || now.equals(given)) {
      return;
    }
    if (now.get().isEmpty()) {
      line.edit(item, DRIVER, Map.of(), Set.of(DRIVE));
      line.remark("The drive of " + device.called() + " is empty by now");
      return;
    }
    drives.add(now.get());
    line.edit(
        item, DRIVER, Map.of(DRIVE, LiveDevice.string(PluggedNodes.name(now.get()))), Set.of());
    line.remark("The medium or image of " + device.called() + " was changed since its start");
  }

  /// Where something has gone, what QEMU places by itself would take its place.
  private void keepPlaces() {
    kept.forEach((item, device) -> {
      Map<String, JsonNode> missing = new LinkedHashMap<>(device.place(qemu));
      // A bus that has no places needs no saying.
      boolean hasPlace = missing.size() > 1;
      missing.keySet().removeAll(item.pairs(DRIVER).values().keySet());
      if (hasPlace && !missing.isEmpty()) {
        line.edit(item, DRIVER, missing, Set.of());
      }
    });
    if (!virtioDrives().isEmpty()) {
      line.refuse(
          "Devices were unplugged since its start, so those of its drives with if=virtio would come"
              + " to other places; plug them again");
    }
  }

  /// The drives and block nodes that devices have and that the line does not give to them.
  Set<String> drives() {
    return drives;
  }

  /// What each device that was plugged says and which objects it uses.
  List<Plugged> plugged() {
    List<Plugged> all = new ArrayList<>();
    pairs.forEach((device, says) ->
        all.add(new Plugged(device, says, objects.getOrDefault(device, Set.of()))));
    return all;
  }

  /// A device that was plugged.
  ///
  /// @param pairs what `-device` says of it
  /// @param objects the names of those that it uses
  record Plugged(LiveDevice device, Map<String, JsonNode> pairs, Set<String> objects) {
    String get(String key) {
      return Optional.ofNullable(pairs.get(key)).map(ChangedLine::text).orElse("");
    }
  }

  /// Adds those that were plugged, each behind that on whose bus it is. QEMU makes those of JSON
  /// last.
  void write() {
    boolean json =
        line.of(ForeignOption.DEVICE).stream().anyMatch(ChangedLine.Item::isJson)
            || !virtioDrives().isEmpty();
    List<LiveDevice> left = new ArrayList<>(pairs.keySet());
    while (!left.isEmpty()) {
      LiveDevice next =
          left.stream()
              .filter(device -> left.stream().noneMatch(other -> isOnBusOf(other, device)))
              .findFirst()
              .orElse(left.getFirst());
      left.remove(next);
      Map<String, JsonNode> says = new LinkedHashMap<>(pairs.getOrDefault(next, Map.of()));
      says.computeIfPresent(
          DRIVE, (_, drive) -> LiveDevice.string(PluggedNodes.name(drive.asString(""))));
      line.add(ForeignOption.DEVICE, ChangedLine.written(says, json));
    }
  }

  private boolean isOnBusOf(LiveDevice other, LiveDevice device) {
    return buses.getOrDefault(device, "").startsWith(other.path() + "/");
  }
}
