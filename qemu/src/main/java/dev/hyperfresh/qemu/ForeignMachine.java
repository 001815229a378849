package dev.hyperfresh.qemu;

import java.util.Set;

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
          "igd-passthru");

  private final LiveMachine live;
  private boolean typeGiven;

  ForeignMachine(LiveMachine live) {
    this.live = live;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    Suboptions machine = verdict.pairs(piece, "type");
    verdict.refuseUnknown(machine.values().keySet(), KEYS);
    Suboptions pinnedDown = machine.without("accel");
    if (machine.get("type").isPresent()) {
      typeGiven = true;
      pinnedDown = pinnedDown.with("type", live.machine());
    }
    return pinnedDown.values().isEmpty() ? verdict : verdict.words("-machine", pinnedDown.text());
  }

  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    if (!typeGiven) {
      verdict.words("-machine", "type=" + live.machine());
    }
    if (!Qemu.isVersioned(live.machine())) {
      verdict.speaksAgainst(
          "machine type",
          "Machine type " + live.machine() + " has no version, so two releases disagree on it",
          "use one such as pc-q35-7.2");
    }
    return verdict;
  }
}
