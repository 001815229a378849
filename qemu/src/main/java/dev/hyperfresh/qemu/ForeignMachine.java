package dev.hyperfresh.qemu;

import java.util.Set;
import java.util.regex.Pattern;

/// The machine type of a foreign command line and its properties. An alias is pinned to what the
/// running QEMU resolved it to.
final class ForeignMachine implements ForeignSubject {
  private static final Set<String> KEYS =
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
          "igd-passthru",
          "pcspk-audiodev",
          "spcr",
          "x-oem-id",
          "x-oem-table-id");

  private static final String NO_VERSION = "has no version, so two releases disagree on it";
  private static final String VERSIONED_ONE = "use one such as pc-q35-7.2";

  /// Also those of Proxmox VE, which add a version of its own.
  private static final Pattern ALIAS = Pattern.compile("(pc|q35)(\\+pve[0-9]{1,4})?");

  private static final Set<String> WITHOUT_VERSION =
      Set.of("microvm", "isapc", "none", "x-remote", "xenfv", "xenpv", "nitro-enclave");

  private final LiveMachine live;
  private boolean typeGiven;

  ForeignMachine(LiveMachine live) {
    this.live = live;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    return switch (piece.option()) {
      case NO_HPET -> ForeignVerdict.of(piece).words("-machine", "hpet=off");
      case NO_ACPI -> ForeignVerdict.of(piece).words("-machine", "acpi=off");
      default -> machine(piece);
    };
  }

  private ForeignVerdict machine(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions machine = verdict.pairs(piece, "type");
    verdict.refuseUnknown(machine.values().keySet(), KEYS);
    Suboptions pinnedDown = machine.without("accel");
    if (machine.get("type").isPresent()) {
      typeGiven = true;
      pinnedDown = pinnedDown.with("type", live.machine());
      machine.get("type").filter(_ -> !live.isSeen()).ifPresent(type -> judge(type, verdict));
    }
    return pinnedDown.values().isEmpty() ? verdict : verdict.words("-machine", pinnedDown.text());
  }

  /// Whether a type is one of QEMU's own names for its newest version of a machine.
  static boolean isAlias(String type) {
    return ALIAS.matcher(type).matches();
  }

  /// Whether a type means one machine and is no alias of another.
  static boolean isExact(String type) {
    return Qemu.isVersioned(type) || type.startsWith("pc-");
  }

  /// Of a machine that is not asked what an alias was resolved to, which is pinned.
  private static void judge(String type, ForeignVerdict verdict) {
    if (WITHOUT_VERSION.contains(type)) {
      verdict.refuse(NO_VERSION, VERSIONED_ONE);
    } else if (!isAlias(type) && !isExact(type)) {
      verdict.unknown(
          "whether this machine type has a version, only the running QEMU can tell", "");
    }
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    if (!typeGiven) {
      verdict.words("-machine", "type=" + live.machine());
    }
    if (live.isSeen() && !Qemu.isVersioned(live.machine())) {
      verdict.speaksAgainst(
          "machine type", "Machine type " + live.machine() + " " + NO_VERSION, VERSIONED_ONE);
    }
    return verdict;
  }
}
