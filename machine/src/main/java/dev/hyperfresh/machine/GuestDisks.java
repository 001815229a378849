package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.QemuInside;
import dev.hyperfresh.vm.VirtualMachine;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// A guest's disks as disks of the machine. For one thread at a time.
///
/// @param fittings of the guest's place
record GuestDisks(Fittings fittings) {
  private String name(int index) {
    return fittings.id() + ".d" + index;
  }

  /// @param files the opened images, in the order of the spec
  /// @return how the guest's QEMU finds them inside
  List<QemuInside.Disk> plug(GuestSpec spec, List<Fd> files) {
    VirtualMachine vm = fittings.vm();
    List<QemuInside.Disk> disks = new ArrayList<>();
    for (Fd file : files) {
      GuestSpec.Disk disk = spec.disks().get(disks.size());
      String name = name(disks.size());
      vm.descriptors()
          .lend(file, (set, _) -> vm.execute("blockdev-add", node(name, set, disk.readOnly())));
      nodeIsThere(name);
      // Two machines have the disk for a moment, and only the guest's authority writes.
      vm.devices()
          .plug(
              device(name),
              "virtio-blk-pci",
              Map.of("drive", name, "serial", name, "share-rw", true));
      deviceIsThere(name);
      disks.add(
          new QemuInside.Disk(
              vm.ask(a -> a.disk(name, VirtualMachine.PLUG_LIMIT)), disk.readOnly()));
    }
    return disks;
  }

  private static Map<String, Object> node(String name, int set, boolean readOnly) {
    return Map.of(
        "driver",
        "raw",
        "node-name",
        name,
        "read-only",
        readOnly,
        "file",
        Map.of(
            "driver",
            "file",
            "filename",
            "/dev/fdset/" + set,
            "locking",
            "on",
            "read-only",
            readOnly));
  }

  private static String device(String name) {
    return name + ".device";
  }

  private void nodeIsThere(String name) {
    fittings.undoneBy(() -> fittings.vm().execute("blockdev-del", Map.of("node-name", name)));
  }

  private void deviceIsThere(String name) {
    fittings.undoneBy(() -> fittings.vm().devices().unplug(device(name)));
  }

  /// Those that an earlier daemon has plugged in.
  void found(int count) {
    for (int i = 0; i < count; i++) {
      nodeIsThere(name(i));
      deviceIsThere(name(i));
    }
  }
}
