package dev.hyperfresh.qemu;

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

/// The devices of a foreign command line, and what it sets of them for all of a kind. Later
/// instances get with each what QEMU made up for it when it started.
final class ForeignDevices implements ForeignSubject {
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
          "ich9-ahci",
          "megasas",
          "lsi53c895a",
          "lsi53c810",
          "mptsas1068",
          "pvscsi",
          "e1000",
          "e1000-82544gc",
          "e1000-82545em",
          "pcnet",
          "ne2k_pci",
          "vmxnet3",
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
          "usb-storage",
          "usb-bot",
          "usb-ccid",
          "usb-redir",
          "pci-ohci",
          "ich9-usb-ehci2",
          "ich9-usb-uhci4",
          "ich9-usb-uhci5",
          "ich9-usb-uhci6",
          "intel-hda",
          "ich9-intel-hda",
          "hda-duplex",
          "hda-micro",
          "hda-output",
          "AC97",
          "ES1370",
          "intel-iommu",
          "vmware-svga",
          "VGA",
          "secondary-vga",
          "cirrus-vga",
          "bochs-display",
          "qxl",
          "qxl-vga",
          "pvpanic",
          "pvpanic-pci",
          "vmgenid",
          "i6300esb",
          "ib700",
          "isa-debugcon",
          "isa-debug-exit",
          "vmcoreinfo",
          "tpm-tis",
          "tpm-crb");

  private static final Set<String> PROCESSOR_KEYS =
      Set.of("driver", "id", "socket-id", "die-id", "module-id", "core-id", "thread-id", "node-id");

  private final ForeignPieces pieces;
  private final ForeignCopies copies;
  private final LiveMachine live;
  private final Set<String> named = new HashSet<>();
  private int nameless;
  private final Map<String, String> macs = new LinkedHashMap<>();

  /// By the piece itself: two devices may stand in equal words.
  private final IdentityHashMap<ForeignPiece, Optional<MachineIdentity.Device>> made =
      new IdentityHashMap<>();

  ForeignDevices(ForeignPieces pieces, ForeignCopies copies, LiveMachine live) {
    this.pieces = pieces;
    this.copies = copies;
    this.live = live;
  }

  /// Whether a device is one that is known to move.
  static boolean isKnown(Suboptions device) {
    return DEVICES.contains(MachineIdentity.plain(device.get("driver", "")));
  }

  /// The addresses of the network cards in lower case, by the network backend that they name.
  Map<String, String> macs() {
    return macs;
  }

  /// Which of the devices that are there each option made.
  @Override
  public List<ForeignVerdict> survey() {
    List<ForeignVerdict> verdicts = new ArrayList<>();
    List<ForeignPiece> devices = pieces.of(ForeignOption.DEVICE).toList();
    List<Suboptions> values = devices.stream().map(d -> pairs(d, "driver", verdicts)).toList();
    int drives =
        (int)
            pieces
                .of(ForeignOption.DRIVE)
                .filter(d -> pairs(d, "file", verdicts).get("if", "").equals("virtio"))
                .count();
    // Such a drive is a device without a name.
    nameless = drives;
    List<Optional<MachineIdentity.Device>> found = live.identity().of(values, drives);
    for (int i = 0; i < devices.size(); i++) {
      made.put(devices.get(i), found.get(i));
    }
    return verdicts;
  }

  private static Suboptions pairs(
      ForeignPiece piece, String implied, List<ForeignVerdict> verdicts) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    verdicts.add(verdict);
    return verdict.pairs(piece, implied);
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return piece.option() == ForeignOption.GLOBAL ? global(piece) : device(piece);
  }

  private ForeignVerdict device(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions device = verdict.pairs(piece, "driver");
    String driver = MachineIdentity.plain(device.get("driver", ""));
    // Also one that is refused is no other device than the line has.
    device.get("id").ifPresentOrElse(named::add, () -> nameless++);
    if (driver.endsWith(LiveDevice.PROCESSOR)) {
      return processor(piece, device, verdict);
    }
    if (!isKnown(device)) {
      return isOfRefused(device) ? verdict : refused(driver, verdict);
    }
    if (device.get("failover").isPresent() || device.get("failover_pair_id").isPresent()) {
      verdict.refuse("a card with a standby card cannot be taken over");
    }
    if (device.isOn("rss")) {
      verdict.refuse(
          "a card that spreads its packets itself cannot be taken over", "leave out rss=");
    }
    Suboptions ours = withRom("romfile", identified(piece, device, driver, verdict), verdict);
    verdict.words("-device", ours.equals(device) ? piece.value() : ours.like(piece.value()));
    device
        .get("netdev")
        .ifPresent(netdev -> macs.put(netdev, mac(piece, device).toLowerCase(Locale.ROOT)));
    return verdict;
  }

  private static ForeignVerdict refused(String driver, ForeignVerdict verdict) {
    return Immovable.of(driver)
        .map(known -> verdict.refuse(known.why(), known.action()))
        .orElseGet(() -> verdict.refuse("this device is not one that is known to move"));
  }

  /// A further processor is one like the others, which are pinned.
  private ForeignVerdict processor(ForeignPiece piece, Suboptions device, ForeignVerdict verdict) {
    verdict.refuseUnknown(device.values().keySet(), PROCESSOR_KEYS);
    String model = live.processor().model();
    if (!live.isSeen()) {
      return verdict.unknown(
          "whether it is a processor like the others, only the running QEMU can tell", "");
    }
    if (!device.get("driver", "").equals(model + LiveDevice.PROCESSOR)) {
      return verdict.refuse("this processor is another one than the first");
    }
    return LiveProcessor.UNSTEADY.contains(model)
        ? verdict.words(
            "-device",
            device.with("driver", LiveProcessor.PINNED + LiveDevice.PROCESSOR).like(piece.value()))
        : verdict.keep(piece);
  }

  /// Whether the reason against its `-fsdev` stands for it, too.
  private boolean isOfRefused(Suboptions device) {
    return device.get("fsdev").isPresent() && pieces.has(ForeignOption.FSDEV);
  }

  /// The value of `-device` with what QEMU made up for it when it started: another process would
  /// make up something else.
  private Suboptions identified(
      ForeignPiece piece, Suboptions device, String driver, ForeignVerdict verdict) {
    String key = MachineIdentity.MADE_UP.get(driver);
    if (key == null) {
      return device;
    }
    Optional<String> is = property(piece, key);
    String given = device.get(key, "");
    if (is.isPresent()) {
      return is.get().equalsIgnoreCase(given) ? device : device.with(key, is.get());
    }
    boolean unplugged =
        device.get("id").filter(id -> !live.identity().named().containsKey(id)).isPresent();
    if (live.isSeen() && !unplugged && (given.isEmpty() || given.equals("auto"))) {
      verdict.refuse(
          "QEMU chose its "
              + key
              + " when it started and does not report it, so the guest would get another one");
    }
    return device;
  }

  /// With a copy of the boot ROM that it names by a path. One that is named without a folder is
  /// looked for where all firmware is, and copied with that.
  private Suboptions withRom(String key, Suboptions options, ForeignVerdict verdict) {
    Optional<String> rom =
        options.get(key).filter(file -> !file.isEmpty() && !ForeignFirmware.isName(file));
    if (rom.isEmpty()) {
      return options;
    }
    Optional<Path> copy = copies.of(rom.get());
    if (copy.isEmpty()) {
      verdict.refuse("the path of its boot ROM cannot be understood");
      return options;
    }
    return options.with(key, copy.get().toString());
  }

  private String mac(ForeignPiece piece, Suboptions device) {
    return property(piece, "mac").orElse(device.get("mac", ""));
  }

  /// What the running device says of itself, if it is there and says something.
  private Optional<String> property(ForeignPiece piece, String key) {
    return Optional.ofNullable(made.get(piece))
        .flatMap(found -> found)
        .map(found -> found.properties().getOrDefault(key, ""))
        .filter(value -> !value.isEmpty());
  }

  /// `DRIVER.PROPERTY=VALUE`, or each with its name.
  private ForeignVerdict global(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions global = verdict.pairs(piece, "driver");
    Suboptions ours = global;
    if (global.get("property", "").equals("romfile")) {
      ours = withRom("value", global, verdict);
    }
    for (String key : global.values().keySet()) {
      if (key.endsWith(".romfile")) {
        ours = withRom(key, ours, verdict);
      }
    }
    return ours.equals(global) ? verdict.keep(piece) : verdict.words("-global", ours.text());
  }

  /// What was plugged or unplugged since the start stands on no command line.
  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    boolean same = named.equals(live.devices()) && nameless == live.namelessDevices();
    if (live.isSeen() && !same) {
      Set<String> more = new LinkedHashSet<>(live.devices());
      more.removeAll(named);
      Set<String> less = new LinkedHashSet<>(named);
      less.removeAll(live.devices());
      verdict.speaksAgainst(
          "devices",
          "Its devices are not those of its command line"
              + (more.isEmpty() ? "" : "; plugged since: " + String.join(", ", more))
              + (less.isEmpty() ? "" : "; unplugged since: " + String.join(", ", less)),
          "undo that");
    }
    return verdict;
  }
}
