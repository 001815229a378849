package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Disk.Format;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/// The command line of a QEMU that HyperFresh did not start, read to build the same machine again.
///
/// Only what [ForeignOption] and the tables here list is taken over; everything else is a reason
/// against it, by name. All reasons are collected. What comes out is the arguments of every later
/// instance, which find their descriptors under the numbers of [Descriptors].
final class ForeignCommandLine {
  static final int MAX_BYTES = 128 * 1024;
  static final int MAX_ARGUMENTS = 1000;

  private static final int EXCERPT = 100;
  static final String OUR_QMP = "hf-qmp";
  private static final String OUR_CONSOLE = "hf-console";
  private static final Set<String> NO_PORT = Set.of("none", "null");
  private static final Pattern PROTOCOL = Pattern.compile("[a-zA-Z0-9+_-]+:.*", Pattern.DOTALL);
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,6}");

  private static final Set<String> MACHINE_KEYS =
      Set.of(
          "type",
          "accel",
          "memory-backend",
          "usb",
          "smm",
          "vmport",
          "kernel_irqchip",
          "kernel-irqchip",
          "dump-guest-core",
          "mem-merge",
          "hpet",
          "pflash0",
          "pflash1",
          "graphics",
          "acpi",
          "smbus",
          "sata",
          "pit",
          "i8042",
          "pic",
          "nvdimm",
          "hmat",
          "suppress-vmdesc",
          "smbios-entry-point-type",
          "default-bus-bypass-iommu",
          "max-ram-below-4g",
          "fd-bootchk",
          "igd-passthru");

  /// Devices whose whole state is in QEMU's own stream.
  static final Set<String> DEVICES =
      Set.of(
          "virtio-blk-pci",
          "virtio-scsi-pci",
          "virtio-net-pci",
          "virtio-rng-pci",
          "virtio-balloon-pci",
          "virtio-serial-pci",
          "virtio-keyboard-pci",
          "virtio-mouse-pci",
          "virtio-tablet-pci",
          "virtio-vga",
          "virtio-gpu-pci",
          "virtserialport",
          "virtconsole",
          "scsi-hd",
          "scsi-cd",
          "ide-hd",
          "ide-cd",
          "ahci",
          "ich9-ahci",
          "megasas",
          "lsi",
          "e1000",
          "e1000e",
          "rtl8139",
          "isa-serial",
          "pci-serial",
          "pcie-root-port",
          "ioh3420",
          "pci-bridge",
          "pcie-pci-bridge",
          "i82801b11-bridge",
          "dmi-to-pci-bridge",
          "x3130-upstream",
          "xio3130-downstream",
          "qemu-xhci",
          "nec-usb-xhci",
          "piix3-usb-uhci",
          "piix4-usb-uhci",
          "usb-ehci",
          "ich9-usb-ehci1",
          "ich9-usb-uhci1",
          "ich9-usb-uhci2",
          "ich9-usb-uhci3",
          "usb-tablet",
          "usb-kbd",
          "usb-mouse",
          "usb-hub",
          "VGA",
          "secondary-vga",
          "cirrus-vga",
          "bochs-display",
          "pvpanic",
          "pvpanic-pci",
          "vmgenid",
          "i6300esb",
          "isa-debug-exit",
          "vmcoreinfo");

  private static final Set<String> DRIVE_KEYS =
      Set.of(
          "if",
          "file",
          "format",
          "driver",
          "id",
          "index",
          "bus",
          "unit",
          "media",
          "readonly",
          "read-only",
          "auto-read-only",
          "cache",
          "cache.direct",
          "cache.no-flush",
          "cache.writeback",
          "aio",
          "discard",
          "detect-zeroes",
          "werror",
          "rerror",
          "copy-on-read",
          "snapshot",
          "file.driver",
          "file.filename",
          "file.locking",
          "file.node-name",
          "node-name",
          "group",
          "bps",
          "bps_rd",
          "bps_wr",
          "iops",
          "iops_rd",
          "iops_wr",
          "bps_max",
          "iops_max",
          "lazy-refcounts",
          "l2-cache-size",
          "refcount-cache-size",
          "cache-size",
          "cache-clean-interval");

  private static final Set<String> NODE_KEYS =
      Set.of(
          "driver",
          "node-name",
          "filename",
          "file",
          "backing",
          "read-only",
          "auto-read-only",
          "discard",
          "cache.direct",
          "cache.no-flush",
          "detect-zeroes",
          "locking",
          "aio",
          "aio-max-batch",
          "force-share",
          "lazy-refcounts",
          "l2-cache-size",
          "refcount-cache-size",
          "cache-size",
          "cache-clean-interval",
          "offset",
          "size",
          "discard-no-unref",
          "pass-discard-request",
          "pass-discard-snapshot",
          "pass-discard-other",
          "overlap-check");

  private static final Set<String> NODE_DRIVERS =
      Set.of("file", "host_device", "raw", "qcow2", "null-co", "null-aio");

  /// Those of a memory backend that change nothing for memory whose pages are there already.
  private static final Set<String> MEMORY_KEYS =
      Set.of(
          "qom-type",
          "id",
          "size",
          "share",
          "mem-path",
          "seal",
          "hugetlb",
          "prealloc",
          "prealloc-threads",
          "merge",
          "dump",
          "reserve",
          "discard-data",
          "pmem",
          "readonly",
          "host-nodes",
          "policy",
          "x-use-canonical-path-for-ramblock-id");

  private static final Set<String> TAP_KEYS =
      Set.of(
          "type",
          "id",
          "ifname",
          "fd",
          "script",
          "downscript",
          "vhost",
          "vnet_hdr",
          "sndbuf",
          "queues",
          "poll-us");

  /// An option and what stands behind it, empty where nothing does.
  private record Item(ForeignOption option, String value) {
    String text() {
      return excerpt(option.word() + (value.isEmpty() ? "" : " " + value));
    }
  }

  /// A network card and the end of it on the host.
  ///
  /// @param descriptor of a tap in the process, when it was passed one
  /// @param tap the name of the tap, when it was told one
  record Card(String id, Optional<Integer> descriptor, Optional<String> tap, String mac) {}

  private final Path folder;
  private final Path files;
  private final String name;
  private final LiveMachine live;
  private final List<String> reasons = new ArrayList<>();
  private final List<String> remarks = new ArrayList<>();
  private final List<String> words = new ArrayList<>();
  private final List<Item> items = new ArrayList<>();
  private final Map<String, Suboptions> chardevs = new LinkedHashMap<>();
  private final Set<String> monitors = new HashSet<>();
  private final Set<String> backends = new LinkedHashSet<>();
  private final Set<String> memoryUsers = new HashSet<>();
  private final Set<String> deviceNames = new HashSet<>();
  private final Map<Path, Path> pinned = new LinkedHashMap<>();
  private final List<Disk> disks = new ArrayList<>();
  private final Set<Path> images = new LinkedHashSet<>();
  private final Map<String, Suboptions> taps = new LinkedHashMap<>();
  private final Map<String, String> macs = new LinkedHashMap<>();
  private final IdentityHashMap<Item, Optional<MachineIdentity.Device>> liveDevices =
      new IdentityHashMap<>();
  private final List<String> firmware = new ArrayList<>();
  private int namelessDevices;
  private boolean typeGiven;
  private boolean noDisplay;
  private boolean acceleratorGiven;
  private String cpu;
  private String consoleId = "";
  private Optional<Path> console = Optional.empty();

  /// Reads `arguments`, the program's name not among them.
  ///
  /// @param folder the process's working folder: relative paths start there
  /// @param files the guest's folder
  ForeignCommandLine(
      List<String> arguments, Path folder, Path files, String name, LiveMachine live) {
    this.folder = folder;
    this.files = files;
    this.name = name;
    this.live = live;
    this.cpu = live.defaultCpu();
    if (arguments.size() > MAX_ARGUMENTS) {
      reasons.add("Its command line has more than " + MAX_ARGUMENTS + " arguments.");
      return;
    }
    split(arguments);
    collectChardevs();
    findDevices();
    chooseConsole();
    items.forEach(this::take);
    finish();
  }

  /// What speaks against a command line whatever its process says of itself: options that cannot be
  /// taken over.
  static List<String> options(List<String> arguments) {
    List<String> found = new ArrayList<>();
    for (int i = 0; i < Math.min(arguments.size(), MAX_ARGUMENTS); i++) {
      ForeignOption option = ForeignOption.of(arguments.get(i));
      if (option == null) {
        continue;
      }
      if (option.fate() == ForeignOption.Fate.REFUSED) {
        found.add(option.word() + ": " + option.remark() + ".");
      }
      i += option.hasValue() ? 1 : 0;
    }
    return found;
  }

  /// Whether it reads the configuration files of its host.
  boolean readsConfiguration() {
    return !hasOption(ForeignOption.NO_USER_CONFIG);
  }

  /// Everything that speaks against it; empty when the machine can be built again.
  List<String> reasons() {
    return reasons;
  }

  /// What its owner should know of what is not as before with later instances, one sentence each.
  List<String> remarks() {
    return remarks;
  }

  /// The arguments of later instances. Means nothing when there are [#reasons].
  List<String> words() {
    return words;
  }

  String cpu() {
    return cpu;
  }

  List<Disk> disks() {
    return disks;
  }

  /// Every image file that is opened.
  Set<Path> images() {
    return images;
  }

  /// Files to be copied, and where to: what QEMU reads once and would read again.
  Map<Path, Path> pinned() {
    return pinned;
  }

  /// The socket of the serial console.
  Optional<Path> console() {
    return console;
  }

  /// The folders of firmware that the process was given.
  List<String> firmware() {
    return firmware;
  }

  List<Card> cards() {
    List<Card> cards = new ArrayList<>();
    taps.forEach((id, tap) ->
        cards.add(
            new Card(
                id,
                tap.get("fd").map(Integer::valueOf),
                tap.get("ifname"),
                macs.getOrDefault(id, ""))));
    return cards;
  }

  private void split(List<String> arguments) {
    for (int i = 0; i < arguments.size(); i++) {
      String word = arguments.get(i);
      ForeignOption option = ForeignOption.of(word);
      if (option == null) {
        refuse(excerpt(word), "this option is not known here");
        // Most likely its value.
        if (i + 1 < arguments.size() && !arguments.get(i + 1).startsWith("-")) {
          i++;
        }
      } else if (!option.hasValue()) {
        items.add(new Item(option, ""));
      } else if (i + 1 < arguments.size()) {
        items.add(new Item(option, arguments.get(++i)));
      } else {
        refuse(word, "its value is missing");
      }
    }
  }

  private void collectChardevs() {
    for (Item item : items) {
      switch (item.option()) {
        case CHARDEV -> {
          Suboptions chardev = parse(item, "backend");
          chardevs.put(chardev.get("id", ""), chardev);
          if (chardev.get("id", "").startsWith("hf-")) {
            refuse(item.text(), "names that begin with hf- are HyperFresh's own");
          }
        }
        case MON -> monitors.add(parse(item, "chardev").get("chardev", ""));
        case QMP, QMP_PRETTY, MONITOR -> {
          if (item.value().startsWith("chardev:")) {
            monitors.add(item.value().substring("chardev:".length()));
          }
        }
        default -> {}
      }
    }
  }

  /// Which of the devices that are there each option made.
  private void findDevices() {
    List<Item> made = items.stream().filter(i -> i.option() == ForeignOption.DEVICE).toList();
    List<Suboptions> values = made.stream().map(item -> parse(item, "driver")).toList();
    int drives =
        (int)
            items.stream()
                .filter(item -> item.option() == ForeignOption.DRIVE)
                .filter(item -> parse(item, "file").get("if", "").equals("virtio"))
                .count();
    List<Optional<MachineIdentity.Device>> found = live.identity().of(values, drives);
    for (int i = 0; i < made.size(); i++) {
      liveDevices.put(made.get(i), found.get(i));
    }
  }

  /// The first serial port, or else the first console device, whose other end can be replaced.
  private void chooseConsole() {
    List<Item> serials =
        items.stream().filter(item -> item.option() == ForeignOption.SERIAL).toList();
    if (!serials.isEmpty()) {
      String value = serials.getFirst().value();
      if (value.startsWith("chardev:")) {
        chooseConsole(value.substring("chardev:".length()));
      }
      return;
    }
    for (Item item : items) {
      if (item.option() == ForeignOption.DEVICE && consoleId.isEmpty()) {
        Suboptions device = parse(item, "driver");
        if (Set.of("isa-serial", "pci-serial", "virtconsole").contains(device.get("driver", ""))) {
          chooseConsole(device.get("chardev", ""));
        }
      }
    }
  }

  private void chooseConsole(String id) {
    Suboptions chardev = chardevs.get(id);
    if (chardev != null && Set.of("socket", "stdio", "file").contains(chardev.get("backend", ""))) {
      consoleId = id;
      console = chardev.get("path").filter(_ -> isListener(chardev)).flatMap(this::path);
    }
  }

  private static boolean isListener(Suboptions socket) {
    return socket.get("backend", "").equals("socket") && socket.isOn("server");
  }

  private void take(Item item) {
    switch (item.option().fate()) {
      case REFUSED -> refuse(item.text(), item.option().remark());
      case DROPPED -> {}
      case KEPT, REWRITTEN -> takeOver(item);
    }
  }

  private void takeOver(Item item) {
    switch (item.option()) {
      case L -> firmware.add(item.value());
      case MACHINE, M_MACHINE -> machine(item);
      case ACCEL -> accelerator(item);
      case ENABLE_KVM, NAME, SANDBOX, INCOMING -> {}
      case CPU -> cpu(item);
      case OBJECT -> object(item);
      case NUMA -> numa(item);
      case DEVICE -> device(item);
      case DRIVE -> drive(item, parse(item, "file"));
      case BLOCKDEV -> blockdev(item);
      case HDA, HDB, HDC, HDD -> bootDisk(item);
      case CDROM -> image(item, "index=2,media=cdrom");
      case NETDEV -> netdev(item);
      case NIC, NET, DISPLAY -> only(item, Set.of("none"));
      case VGA -> only(item, Set.of("none", "std", "cirrus", "virtio"));
      case PARALLEL -> only(item, NO_PORT);
      case CHARDEV -> chardev(item);
      case SERIAL -> serial(item);
      case KERNEL -> pin(item, Qemu.PINNED_KERNEL);
      case INITRD -> pin(item, Qemu.PINNED_INITRD);
      case BIOS -> firmwareFile(item);
      case SMBIOS -> without(item, "type", Set.of("file", "path"));
      case BOOT -> without(item, "order", Set.of("splash"));
      case GLOBAL -> global(item);
      case NOGRAPHIC -> nographic();
      default -> keep(item);
    }
  }

  private void keep(Item item) {
    add(item.option().word());
    if (item.option().hasValue()) {
      add(item.value());
    }
  }

  private void only(Item item, Set<String> values) {
    if (values.contains(item.value())) {
      keep(item);
      noDisplay |= item.option() == ForeignOption.DISPLAY;
    } else {
      refuse(
          item.text(),
          item.option() == ForeignOption.DISPLAY
              ? "the window or listener of a display cannot be handed over; use -display none"
              : "only "
                  + String.join(", ", values.stream().sorted().toList())
                  + " can be taken over");
    }
  }

  private void without(Item item, String implied, Set<String> keys) {
    for (String key : parse(item, implied).values().keySet()) {
      if (keys.contains(key)) {
        refuse(item.text(), "the file it names may have changed");
        return;
      }
    }
    keep(item);
  }

  /// `DRIVER.PROPERTY=VALUE`, or each with its name.
  private void global(Item item) {
    Suboptions global = parse(item, "driver");
    boolean rom =
        global.get("property", "").equals("romfile")
            || global.values().keySet().stream().anyMatch(key -> key.endsWith(".romfile"));
    boolean none = global.values().values().stream().anyMatch(String::isEmpty);
    if (rom && !none) {
      refuse(item.text(), "the file of a boot ROM may have changed");
    } else {
      keep(item);
    }
  }

  private void machine(Item item) {
    Suboptions machine = parse(item, "type");
    refuseUnknown(item, machine.values().keySet(), MACHINE_KEYS);
    machine.get("memory-backend").ifPresent(memoryUsers::add);
    Suboptions pinnedDown = machine.without("accel");
    if (machine.get("type").isPresent()) {
      typeGiven = true;
      pinnedDown = pinnedDown.with("type", live.machine());
    }
    if (!pinnedDown.values().isEmpty()) {
      add("-machine", pinnedDown.text());
    }
  }

  /// Of several the first that works is taken by QEMU; that is known by now.
  private void accelerator(Item item) {
    Suboptions accelerator = parse(item, "accel");
    String label = live.accelerator().label();
    if (accelerator.get("accel", "").equals(label) && accelerator.values().size() > 1) {
      add("-accel", accelerator.text());
      acceleratorGiven = true;
    }
  }

  private void cpu(Item item) {
    cpu = item.value();
    String model = cpu.split(",", 2)[0];
    if (Set.of("host", "max", "base").contains(model)) {
      refuse(
          item.text(),
          "the model '"
              + model
              + "' is another processor on each release; start the guest with a"
              + " named one, such as qemu64 or EPYC");
    } else {
      keep(item);
    }
  }

  private void object(Item item) {
    Suboptions object = parse(item, "qom-type");
    String type = object.get("qom-type", "");
    switch (type) {
      case "memory-backend-memfd", "memory-backend-file" -> memory(item, object, type);
      case "memory-backend-ram" -> {
        backends.add(object.get("id", ""));
        refuse(
            item.text(), "its memory is private to the process; use memory-backend-file,share=on");
      }
      case "iothread", "rng-builtin", "throttle-group" -> keep(item);
      case "rng-random" -> {
        if (Set.of("/dev/urandom", "/dev/random").contains(object.get("filename", "/dev/random"))) {
          keep(item);
        } else {
          refuse(item.text(), "only /dev/urandom and /dev/random can be taken over");
        }
      }
      // No option that is taken over refers to a secret.
      case "secret" -> {}
      default -> refuse(item.text(), "objects of this type cannot be taken over");
    }
  }

  private void memory(Item item, Suboptions object, String type) {
    String id = object.get("id", "");
    if (!backends.add(id) || backends.size() > 1) {
      refuse(item.text(), "a guest with several memories cannot be taken over yet");
    }
    boolean named = type.equals("memory-backend-file");
    refuseUnknown(item, object.values().keySet(), MEMORY_KEYS);
    if (!(named ? object.isOn("share") : object.get("share", "on").equals("on"))) {
      refuse(item.text(), "its memory is private to the process; start the guest with share=on");
    }
    if (object.isOn("discard-data")) {
      refuse(item.text(), "the process would empty the memory at its end (discard-data)");
    }
    if (object.isOn("hugetlb") || object.isOn("pmem") || object.isOn("readonly")) {
      refuse(item.text(), "memory of this kind cannot be taken over yet");
    }
    if (!named && live.copiesMemFds()) {
      refuse(
          item.text(),
          "QEMU from 8.1 on does not leave a memfd out of a migration; start the guest with"
              + " memory-backend-file,mem-path=/dev/shm/NAME,share=on");
    }
    StringBuilder ours =
        new StringBuilder("memory-backend-file,id=" + id.replace(",", ",,"))
            .append(",size=" + live.memoryBytes())
            .append(",mem-path=/proc/self/fd/" + Descriptors.MEMORY + ",share=on");
    for (String key : List.of("dump", "x-use-canonical-path-for-ramblock-id")) {
      object.get(key).ifPresent(value -> ours.append("," + key + "=" + value.replace(",", ",,")));
    }
    add("-object", ours.toString());
  }

  private void numa(Item item) {
    Suboptions numa = parse(item, "type");
    numa.get("memdev").ifPresent(memoryUsers::add);
    if (numa.get("mem").isPresent()) {
      refuse(item.text(), "memory given by size is private to the process; use memdev=");
    } else {
      keep(item);
    }
  }

  private void device(Item item) {
    Suboptions device = parse(item, "driver");
    String driver = device.get("driver", "").replaceFirst("-(non-)?transitional$", "");
    if (!DEVICES.contains(driver)) {
      refuse(item.text(), "this device is not one that is known to move");
      return;
    }
    if (device.get("failover").isPresent() || device.get("failover_pair_id").isPresent()) {
      refuse(item.text(), "a card with a stand-by cannot be taken over");
    }
    device
        .get("romfile")
        .filter(rom -> !rom.isEmpty())
        .ifPresent(_ -> refuse(item.text(), "the file of its boot ROM may have changed"));
    device.get("id").ifPresentOrElse(deviceNames::add, () -> namelessDevices++);
    String value = identified(item, device, driver);
    device
        .get("netdev")
        .ifPresent(netdev -> macs.put(netdev, mac(item, device).toLowerCase(Locale.ROOT)));
    add("-device", value);
  }

  /// The value of `-device` with what QEMU made up for it when it started: another process would
  /// make up something else.
  private String identified(Item item, Suboptions device, String driver) {
    String key = MachineIdentity.MADE_UP.get(driver);
    if (key == null) {
      return item.value();
    }
    Optional<String> is =
        Optional.ofNullable(liveDevices.get(item))
            .flatMap(found -> found)
            .map(found -> found.properties().getOrDefault(key, ""))
            .filter(value -> !value.isEmpty());
    String given = device.get(key, "");
    if (is.isPresent()) {
      return is.get().equalsIgnoreCase(given)
          ? item.value()
          : device.with(key, is.get()).like(item.value());
    }
    boolean unplugged =
        device.get("id").filter(id -> !live.identity().named().containsKey(id)).isPresent();
    if (!unplugged && (given.isEmpty() || given.equals("auto"))) {
      refuse(
          item.text(),
          "QEMU made up its "
              + key
              + " when it started and does not say it, so that the guest would"
              + " get another one");
    }
    return item.value();
  }

  private String mac(Item item, Suboptions device) {
    return Optional.ofNullable(liveDevices.get(item))
        .flatMap(found -> found)
        .map(found -> found.properties().getOrDefault("mac", ""))
        .filter(mac -> !mac.isEmpty())
        .orElse(device.get("mac", ""));
  }

  private void bootDisk(Item item) {
    // The last letter counts.
    int index = item.option().word().charAt(3) - 'a';
    image(item, "index=" + index + ",media=disk");
  }

  private void image(Item item, String place) {
    drive(item, parse(item, "file=" + item.value().replace(",", ",,") + "," + place, ""));
  }

  private void drive(Item item, Suboptions drive) {
    refuseUnknown(item, drive.values().keySet(), DRIVE_KEYS);
    if (!drive.get("snapshot", "off").equals("off")) {
      refuse(item.text(), "writes go to a file that has no name (snapshot)");
    }
    if (!drive.get("file.driver", "file").equals("file")) {
      refuse(item.text(), "only local files can be taken over");
    }
    if (drive.get("if", "").equals("virtio")) {
      namelessDevices++;
    }
    String key = drive.get("file").isPresent() ? "file" : "file.filename";
    Optional<String> file = drive.get(key).filter(value -> !value.isEmpty());
    if (file.isEmpty()) {
      add("-drive", drive.text());
      return;
    }
    Optional<Path> path = imagePath(item, file.get());
    if (path.isEmpty()) {
      return;
    }
    // A format that QEMU guesses is the guest's to decide at every start anew.
    Optional<String> format =
        drive
            .get("format")
            .or(() -> drive.get("driver"))
            .or(() -> live.format(Path.of(file.get())));
    Suboptions ours = drive.with(key, path.get().toString());
    if (drive.get("driver").isEmpty()) {
      ours = ours.with("format", format.orElse("raw"));
    }
    boolean readOnly =
        drive.isOn("readonly") || drive.isOn("read-only") || drive.get("media", "").equals("cdrom");
    addDisk(item, path.get(), format.orElse(""), readOnly);
    add("-drive", ours.text());
  }

  private void addDisk(Item item, Path path, String format, boolean readOnly) {
    switch (format) {
      case "raw", "host_device" -> disks.add(new Disk(path, Format.RAW, readOnly));
      case "qcow2" -> disks.add(new Disk(path, Format.QCOW2, readOnly));
      default -> refuse(item.text(), "only images of format raw and qcow2 can be taken over");
    }
  }

  private void blockdev(Item item) {
    Suboptions node = parse(item, "driver");
    Set<String> keys = new LinkedHashSet<>();
    Suboptions ours = node;
    boolean relative = false;
    String top = node.get("driver", "");
    for (Map.Entry<String, String> entry : node.values().entrySet()) {
      String key = entry.getKey().replaceFirst("^((file|backing)\\.)+", "");
      keys.add(key);
      if (key.equals("driver") && !NODE_DRIVERS.contains(entry.getValue())) {
        refuse(item.text(), "block driver '" + entry.getValue() + "' cannot be taken over");
      }
      if (key.equals("filename")) {
        Optional<Path> path = imagePath(item, entry.getValue());
        if (path.isPresent()) {
          relative |= !path.get().toString().equals(entry.getValue());
          ours = ours.with(entry.getKey(), path.get().toString());
          addNode(path.get(), node);
        }
      }
    }
    refuseUnknown(item, keys, NODE_KEYS);
    if (top.isEmpty()) {
      refuse(item.text(), "it names no driver");
    }
    add("-blockdev", relative ? ours.text() : item.value());
  }

  /// What people call the disk is the image, in whichever node of a chain it is opened.
  private void addNode(Path path, Suboptions node) {
    boolean known = disks.stream().anyMatch(disk -> disk.path().equals(path));
    if (!known) {
      Format format =
          live.format(path).filter("qcow2"::equals).isPresent() ? Format.QCOW2 : Format.RAW;
      disks.add(new Disk(path, format, node.isOn("read-only")));
    }
  }

  /// A local file's path; a reason when it is something else.
  private Optional<Path> imagePath(Item item, String file) {
    if (PROTOCOL.matcher(file).matches() || file.startsWith("/dev/fdset/")) {
      refuse(item.text(), "only local files can be taken over");
      return Optional.empty();
    }
    Optional<Path> path = path(file);
    path.ifPresentOrElse(images::add, () -> refuse(item.text(), "its path cannot be understood"));
    return path;
  }

  private Optional<Path> path(String text) {
    try {
      return text.isEmpty() ? Optional.empty() : Optional.of(folder.resolve(text).normalize());
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  private void netdev(Item item) {
    Suboptions netdev = parse(item, "type");
    if (!netdev.get("type", "").equals("tap")) {
      refuse(item.text(), "only taps can be taken over");
      return;
    }
    refuseUnknown(item, netdev.values().keySet(), TAP_KEYS);
    if (netdev.isOn("vhost")) {
      refuse(
          item.text(),
          "the kernel's vhost holds the card's queues; start the guest with vhost=off");
    }
    if (!netdev.get("queues", "1").equals("1")) {
      refuse(item.text(), "a card with several queues cannot be taken over yet");
    }
    if (netdev.get("fd").filter(fd -> !NUMBER.matcher(fd).matches()).isPresent()) {
      refuse(item.text(), "its descriptor is not a number");
      return;
    }
    String id = netdev.get("id", "");
    add(
        "-netdev",
        "tap,id=" + id.replace(",", ",,") + ",fd=" + (Descriptors.FIRST_NIC + taps.size()));
    if (taps.put(id, netdev) != null) {
      refuse(item.text(), "its name stands twice");
    }
  }

  private void chardev(Item item) {
    Suboptions chardev = parse(item, "backend");
    String id = chardev.get("id", "");
    if (id.equals(consoleId) && !id.isEmpty()) {
      ourConsole(id, logOf(chardev));
      return;
    }
    if (monitors.contains(id)) {
      return;
    }
    switch (chardev.get("backend", "")) {
      case "null", "vc" -> keep(item);
      case "pty" -> {
        remarks.add(
            "With each replacement its terminal "
                + excerpt(id)
                + " (pty) gets another name; open it again then.");
        keep(item);
      }
      case "ringbuf" -> {
        remarks.add(
            "With each replacement its ring buffer " + excerpt(id) + " (ringbuf) begins empty.");
        keep(item);
      }
      case "file" -> {
        Optional<Path> path = chardev.get("path").flatMap(this::path);
        if (path.isEmpty()) {
          refuse(item.text(), "its path cannot be understood");
        } else {
          // Opened anew it would be emptied.
          Suboptions ours = chardev.without("backend").with("path", path.get().toString());
          add("-chardev", "file," + ours.with("append", "on").text());
        }
      }
      default ->
          refuse(
              item.text(),
              "two processes cannot hold its other end; only the console's and the monitors' are"
                  + " replaced");
    }
  }

  private Path logOf(Suboptions chardev) {
    Optional<String> log =
        chardev.get("backend", "").equals("file") ? chardev.get("path") : chardev.get("logfile");
    return log.flatMap(this::path).orElse(files.resolve("console.log"));
  }

  private void ourConsole(String id, Path log) {
    add(
        "-chardev",
        "socket,id="
            + id.replace(",", ",,")
            + ",fd="
            + Descriptors.CONSOLE
            + ",server=on,wait=off,logfile="
            + log.toString().replace(",", ",,")
            + ",logappend=on");
  }

  private void serial(Item item) {
    String value = item.value();
    boolean first =
        items.stream()
            .filter(i -> i.option() == ForeignOption.SERIAL)
            .findFirst()
            .equals(Optional.of(item));
    if (value.equals("pty")) {
      remarks.add("With each replacement its serial terminal (pty) gets another name.");
      keep(item);
    } else if (NO_PORT.contains(value) || value.startsWith("chardev:")) {
      keep(item);
    } else if (!first || !consoleId.isEmpty()) {
      refuse(item.text(), "two processes cannot hold its other end; only the first is replaced");
    } else {
      literalConsole(item, value.replaceFirst("^mon:", ""));
    }
  }

  private void literalConsole(Item item, String value) {
    Path log = files.resolve("console.log");
    if (value.startsWith("unix:")) {
      Suboptions socket = parse(item, value.substring("unix:".length()), "path");
      console = socket.get("path").filter(_ -> socket.isOn("server")).flatMap(this::path);
    } else if (value.startsWith("file:")) {
      log = path(value.substring("file:".length())).orElse(log);
    } else if (!value.equals("stdio") && !value.equals("vc")) {
      refuse(item.text(), "two processes cannot hold its other end");
      return;
    }
    consoleId = OUR_CONSOLE;
    ourConsole(OUR_CONSOLE, log);
    add("-serial", "chardev:" + OUR_CONSOLE);
  }

  private void nographic() {
    noDisplay = true;
    add("-display", "none");
    boolean plain =
        items.stream()
            .noneMatch(
                i -> i.option() == ForeignOption.SERIAL || i.option() == ForeignOption.NODEFAULTS);
    if (plain && consoleId.isEmpty()) {
      consoleId = OUR_CONSOLE;
      ourConsole(OUR_CONSOLE, files.resolve("console.log"));
      add("-serial", "chardev:" + OUR_CONSOLE);
    }
  }

  private void pin(Item item, String to) {
    Optional<Path> from = path(item.value());
    if (from.isEmpty()) {
      refuse(item.text(), "its path cannot be understood");
      return;
    }
    Path copy = files.resolve(to);
    pinned.put(from.get(), copy);
    add(item.option().word(), copy.toString());
  }

  /// A name without a folder is looked up in the release's own firmware folders.
  private void firmwareFile(Item item) {
    if (item.value().contains("/")) {
      pin(item, "firmware");
    } else {
      keep(item);
    }
  }

  private void finish() {
    if (!typeGiven) {
      add("-machine", "type=" + live.machine());
    }
    if (!Qemu.isVersioned(live.machine())) {
      reasons.add(
          "Machine type "
              + live.machine()
              + " has no version, so two releases disagree on it; use one such as pc-q35-7.2.");
    }
    if (backends.isEmpty()) {
      reasons.add(
          "Its memory is private to the process, so no other one can map it; start the guest with"
              + " -object memory-backend-file,id=ram,size=SIZE,mem-path=/dev/shm/NAME,share=on and"
              + " -machine memory-backend=ram.");
    } else if (!memoryUsers.equals(backends)) {
      reasons.add("Its RAM is not, or not alone, the memory backend that is given.");
    }
    if (!noDisplay) {
      reasons.add(
          "It has a display, whose window or listener cannot be handed over; use -display none.");
    }
    if (!hasOption(ForeignOption.NODEFAULTS)
        && !hasOption(ForeignOption.NIC)
        && !hasOption(ForeignOption.NET)
        && taps.isEmpty()) {
      reasons.add("It has QEMU's default network card, which cannot move; use -nic none.");
    }
    if (!hasOption(ForeignOption.NO_USER_CONFIG)) {
      add("-no-user-config");
    }
    compareDevices();
    compareImages();
    if (!acceleratorGiven) {
      add("-accel", live.accelerator().label());
    }
    add("-name", "guest=" + name + ",debug-threads=on");
    add("-sandbox", CommandLine.SANDBOX);
    add("-monitor", "none");
    add("-chardev", "socket,id=" + OUR_QMP + ",fd=" + Descriptors.QMP + ",server=on,wait=off");
    add("-mon", "chardev=" + OUR_QMP + ",mode=control");
  }

  private boolean hasOption(ForeignOption option) {
    return items.stream().anyMatch(item -> item.option() == option);
  }

  /// What was plugged or unplugged since the start stands on no command line.
  private void compareDevices() {
    if (!deviceNames.equals(live.devices()) || namelessDevices != live.namelessDevices()) {
      Set<String> more = new LinkedHashSet<>(live.devices());
      more.removeAll(deviceNames);
      Set<String> less = new LinkedHashSet<>(deviceNames);
      less.removeAll(live.devices());
      reasons.add(
          "Its devices are not those of its command line"
              + (more.isEmpty() ? "" : "; plugged since: " + String.join(", ", more))
              + (less.isEmpty() ? "" : "; unplugged since: " + String.join(", ", less))
              + ". Undo that.");
    }
  }

  /// A medium that was changed or a snapshot that was taken since: the command line would open an
  /// image that is not the guest's any more.
  private void compareImages() {
    for (LiveMachine.Image image : live.images()) {
      boolean known =
          image.file().startsWith("null-")
              || path(image.file()).filter(images::contains).isPresent();
      if (!known) {
        reasons.add(
            "It uses the image "
                + excerpt(image.file())
                + ", which its command line does not name.");
      }
    }
    for (Path image : images) {
      if (live.files().stream().noneMatch(file -> path(file).filter(image::equals).isPresent())) {
        reasons.add("It does not use " + image + " any more, which its command line names.");
      }
    }
  }

  private Suboptions parse(Item item, String implied) {
    return parse(item, item.value(), implied);
  }

  private Suboptions parse(Item item, String text, String implied) {
    try {
      return Suboptions.parse(text, implied);
    } catch (Suboptions.MalformedException e) {
      refuse(item.text(), String.valueOf(e.getMessage()));
      return new Suboptions(Map.of(), false);
    }
  }

  private void refuseUnknown(Item item, Set<String> keys, Set<String> known) {
    List<String> unknown = keys.stream().filter(key -> !known.contains(key)).toList();
    if (!unknown.isEmpty()) {
      refuse(item.text(), "not known here: " + excerpt(String.join(", ", unknown)));
    }
  }

  private void refuse(String what, String why) {
    String reason = what + ": " + why + ".";
    if (!reasons.contains(reason)) {
      reasons.add(reason);
    }
  }

  private void add(String... arguments) {
    words.addAll(List.of(arguments));
  }

  private static String excerpt(String text) {
    String clean = text.replaceAll("[^\\x20-\\x7e]", "?");
    return clean.length() <= EXCERPT ? clean : clean.substring(0, EXCERPT - 3) + "...";
  }
}
