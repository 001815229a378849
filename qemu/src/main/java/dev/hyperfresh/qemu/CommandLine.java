package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.Launch;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/// A guest's spec as the arguments of a QEMU. Two releases get the same arguments for the same
/// spec: what differs between them would be another machine to the guest.
final class CommandLine {
  /// Numbers under which the process finds its descriptors.
  static final int MEMORY_FD = 10;

  static final int QMP_FD = 11;
  static final int CONSOLE_FD = 12;
  static final int FIRST_NIC_FD = 13;

  private CommandLine() {}

  /// The command for `launch`; with `waiting` it expects the guest's state instead of booting.
  static List<String> of(Launch launch, QemuRelease release, boolean waiting) {
    GuestSpec spec = launch.spec();
    List<String> line = new ArrayList<>();
    line.add(release.binary().toString());
    line.addAll(release.arguments());
    add(line, "-name", "guest=" + spec.name() + ",debug-threads=on");
    add(line, "-nodefaults", "-no-user-config");
    add(line, "-display", "none");
    // spawn=deny also forbids helpers such as bridge scripts, which this project never uses.
    add(
        line,
        "-sandbox",
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(line, "-machine", spec.machine() + ",memory-backend=ram");
    add(line, "-accel", launch.accelerator().label());
    add(line, "-cpu", spec.cpu());
    add(line, "-smp", Integer.toString(spec.vcpus()));
    long mebibytes = spec.memoryBytes() >> 20;
    add(line, "-m", mebibytes + "M");
    add(
        line,
        "-object",
        "memory-backend-file,id=ram,size="
            + mebibytes
            + "M,mem-path=/proc/self/fd/"
            + MEMORY_FD
            + ",share=on");
    add(line, "-chardev", "socket,id=qmp,fd=" + QMP_FD + ",server=on,wait=off");
    add(line, "-mon", "chardev=qmp,mode=control");
    add(
        line,
        "-chardev",
        "socket,id=console,fd="
            + CONSOLE_FD
            + ",server=on,wait=off,logfile="
            + escaped(launch.files().resolve("console.log"))
            + ",logappend=on");
    add(line, "-serial", "chardev:console");
    spec.boot().ifPresent(boot -> kernel(line, boot, launch.files()));
    for (int i = 0; i < spec.disks().size(); i++) {
      disk(line, i, spec.disks().get(i));
    }
    for (int i = 0; i < spec.nics().size(); i++) {
      add(line, "-netdev", "tap,id=net" + i + ",fd=" + (FIRST_NIC_FD + i));
      // romfile= empty: a boot ROM would be one more image that must match between releases.
      add(
          line,
          "-device",
          "virtio-net-pci,id=nic"
              + i
              + ",netdev=net"
              + i
              + ",mac="
              + spec.nics().get(i).mac()
              + ",romfile=");
    }
    if (waiting) {
      add(line, "-incoming", "defer");
    }
    return line;
  }

  private static void kernel(List<String> line, GuestSpec.KernelBoot boot, Path files) {
    add(line, "-kernel", files.resolve(Qemu.PINNED_KERNEL).toString());
    boot.initrd()
        .ifPresent(_ -> add(line, "-initrd", files.resolve(Qemu.PINNED_INITRD).toString()));
    add(line, "-append", boot.commandLine());
  }

  private static void disk(List<String> line, int index, Disk disk) {
    Map<String, ?> file =
        Map.of("driver", "file", "filename", disk.path().toString(), "locking", "on");
    Map<String, ?> node =
        Map.of(
            "driver",
            disk.format().label(),
            "node-name",
            "disk" + index,
            "read-only",
            disk.readOnly(),
            "file",
            file);
    add(line, "-blockdev", QmpMessage.JSON.writeValueAsString(node));
    add(line, "-device", "virtio-blk-pci,id=blk" + index + ",drive=disk" + index);
  }

  /// A path inside a comma-separated option: QEMU reads a doubled comma as one.
  private static String escaped(Path path) {
    return path.toString().replace(",", ",,");
  }

  private static void add(List<String> line, String... arguments) {
    line.addAll(List.of(arguments));
  }
}
