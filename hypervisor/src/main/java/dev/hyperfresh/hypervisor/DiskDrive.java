package dev.hyperfresh.hypervisor;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Pattern;

/// How a guest sees a disk.
///
/// @param bus what it is attached to
/// @param cdrom whether it is a CD
/// @param serial by which the guest knows it; of one without, the bus decides
/// @param boot its place among those that the firmware tries, from 1 on; one without is not tried
///   before those that have one
public record DiskDrive(Bus bus, boolean cdrom, Optional<String> serial, OptionalInt boot) {
  /// A virtio disk of which nothing more is said.
  public static final DiskDrive PLAIN =
      new DiskDrive(Bus.VIRTIO, false, Optional.empty(), OptionalInt.empty());

  private static final int LAST_BOOT = 99;

  /// As many as every bus takes.
  private static final Pattern SERIAL = Pattern.compile("[A-Za-z0-9._-]{1,20}");

  /// What a disk is attached to.
  public enum Bus {
    /// A device of its own.
    VIRTIO,
    /// A virtio SCSI adapter, which all disks of this bus share.
    SCSI,
    /// An AHCI adapter, which all disks of this bus share. Systems without drivers for virtio know
    /// it.
    SATA;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /// A virtio disk with a serial number.
  public static DiskDrive virtio(String serial) {
    return new DiskDrive(Bus.VIRTIO, false, Optional.of(serial), OptionalInt.empty());
  }

  /// What is not as in [#PLAIN], as a spec says it.
  List<String> words() {
    List<String> words = new ArrayList<>();
    if (bus != Bus.VIRTIO) {
      words.add("bus: " + bus.label());
    }
    if (cdrom) {
      words.add("cdrom: true");
    }
    serial.ifPresent(text -> words.add("serial: " + text));
    boot.ifPresent(place -> words.add("boot: " + place));
    return words;
  }

  /// Every fault, without the disk that it is about.
  List<String> faults(boolean readOnly) {
    List<String> faults = new ArrayList<>();
    if (cdrom && bus == Bus.VIRTIO) {
      faults.add("bus: a CD is on sata or scsi");
    }
    if (bus == Bus.SATA && readOnly && !cdrom) {
      faults.add("bus: a read-only disk cannot be on sata; use scsi or virtio, or cdrom: true");
    }
    serial
        .filter(text -> !SERIAL.matcher(text).matches())
        .ifPresent(text ->
            faults.add("serial: '" + text + "' is not 1 to 20 letters, digits, '.', '_' or '-'"));
    if (boot.isPresent() && (boot.getAsInt() < 1 || boot.getAsInt() > LAST_BOOT)) {
      faults.add("boot: " + boot.getAsInt() + " is not between 1 and " + LAST_BOOT);
    }
    return faults;
  }
}
