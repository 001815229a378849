package dev.hyperfresh.qemu;

import java.util.Map;
import java.util.Optional;

/// Why a device of a foreign command line cannot be taken over though QEMU has it: a part of it is
/// somewhere else than in QEMU.
///
/// @param why a clause without a full stop
/// @param action what its owner can do about it, likewise
record Immovable(String why, String action) {
  private static final String UNPLUG = "unplug it (device_del)";

  /// QEMU makes one with a half in another process for nearly every device.
  private static final String VHOST_USER = "vhost-user-";

  private static final Immovable OTHER_PROCESS =
      new Immovable(
          "its other half is a process that serves one QEMU at a time",
          "use a device that is all in QEMU, or " + UNPLUG);

  private static final Immovable OF_HOST =
      new Immovable("it is a device of the host, which one process has at a time", UNPLUG);

  private static final Immovable MEMORY =
      new Immovable(
          "memory that is a device cannot be taken over", "start the guest with all of it in -m");

  private static final Immovable IMAGE =
      new Immovable(
          "an image that is memory of the guest cannot be taken over", "give it a disk instead");

  private static final Map<String, Immovable> DEVICES =
      Map.ofEntries(
          Map.entry(
              "vhost-vsock-pci",
              new Immovable(
                  "the kernel gives its guest-cid to one process at a time, and QEMU takes it when"
                      + " it starts",
                  UNPLUG + " if nothing needs vsock")),
          Map.entry(
              "vhost-user-fs-pci",
              new Immovable(
                  "its virtiofsd serves one QEMU at a time; a second one for the next QEMU is not"
                      + " started here, and QEMU before 8.2 could not move to it",
                  "unmount it in the guest and "
                      + UNPLUG
                      + ", or use a file system of the"
                      + " network")),
          Map.entry(
              "vhost-scsi-pci",
              new Immovable(
                  "its disks are in the kernel, which QEMU does not move", "use virtio-scsi-pci")),
          Map.entry("vhost-vdpa-device-pci", OF_HOST),
          Map.entry("vfio-pci", OF_HOST),
          Map.entry("vfio-pci-nohotplug", OF_HOST),
          Map.entry("usb-host", OF_HOST),
          Map.entry("nvdimm", IMAGE),
          Map.entry("pc-dimm", MEMORY),
          Map.entry("virtio-mem-pci", MEMORY),
          Map.entry("virtio-pmem-pci", IMAGE),
          Map.entry("cxl-type3", MEMORY));

  /// What is known of a device; empty when that is nothing.
  ///
  /// @param driver as [MachineIdentity#plain] has it
  static Optional<Immovable> of(String driver) {
    return Optional.ofNullable(DEVICES.get(driver))
        .or(() -> Optional.of(OTHER_PROCESS).filter(_ -> driver.startsWith(VHOST_USER)));
  }
}
