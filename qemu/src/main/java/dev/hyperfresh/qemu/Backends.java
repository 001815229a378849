package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.Launch;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// What the devices of a machine are attached to. The guest sees the devices and not this, so that
/// two machines that differ here alone have device states that fit each other.
sealed interface Backends {
  /// The value of `-name`'s member `guest`.
  String name(GuestSpec spec);

  /// Where a file of the memory is: the members of `memory-backend-file` that say so.
  ///
  /// @param index counts the files from 0
  String memory(int index);

  /// The path of the kernel to start.
  String kernel();

  /// The path of its initrd.
  String initrd();

  /// The character device of the control channel.
  String monitor();

  /// The arguments that make the character device of the serial console.
  List<String> console();

  /// The character device of the channel to an agent in the guest.
  String agent();

  /// The arguments that make the block node of a disk, the one with that index.
  List<String> disk(int index, Disk disk);

  /// The arguments that make the block nodes of UEFI firmware, if the guest has any.
  List<String> firmware();

  /// The value of `-netdev` for a card with a tap, without its `id`.
  ///
  /// @param queues the descriptors of its queues in the process
  String network(List<Integer> queues);

  /// What stands behind [#network] of a card whose packets the host's kernel moves.
  ///
  /// @param numbers the descriptors of vhost for its queues
  default String vhost(List<Integer> numbers) {
    // The guest sees the same card without it.
    return "";
  }

  /// The same, connected.
  private static String tap(List<Integer> queues) {
    return queues.size() == 1
        ? "tap,fd=" + queues.getFirst()
        : "tap,fds=" + String.join(":", queues.stream().map(String::valueOf).toList());
  }

  /// On this host everything comes as a descriptor.
  sealed interface OnHost extends Backends {
    @Override
    default String memory(int index) {
      return "mem-path=" + Descriptors.own(Descriptors.memory(index));
    }

    @Override
    default String kernel() {
      return Descriptors.own(Descriptors.KERNEL);
    }

    @Override
    default String initrd() {
      return Descriptors.own(Descriptors.INITRD);
    }
  }

  /// The guest's own, in a machine.
  record InMachine(QemuInside inside) implements Backends {
    @Override
    public String name(GuestSpec spec) {
      return spec.name();
    }

    @Override
    public String memory(int index) {
      return inside.offset().isPresent()
          ? "mem-path=" + inside.memory() + ",offset=" + inside.offset().getAsLong()
          : "mem-path=" + inside.memory();
    }

    @Override
    public String kernel() {
      return inside.kernel();
    }

    @Override
    public String initrd() {
      return inside.initrd();
    }

    @Override
    public String monitor() {
      return "pipe,id=qmp,path=" + inside.control();
    }

    @Override
    public List<String> console() {
      return List.of("-chardev", "pipe,id=console,path=" + inside.console());
    }

    /// Connected to nothing: the guest keeps the device when it moves in and out.
    @Override
    public String agent() {
      return "null,id=agent";
    }

    @Override
    public List<String> disk(int index, Disk disk) {
      // Through the page cache of the machine's kernel: that kernel has no page structures for a
      // window, so that it cannot transfer to or from the guest's memory directly. QEMU writes the
      // cache out before it hands the disk over, and drops what the target may have read before
      // (file-posix, `drop-cache`).
      Map<String, ?> node =
          Map.of(
              "driver",
              "raw",
              "node-name",
              "disk" + index,
              "read-only",
              inside.disks().get(index).readOnly(),
              "file",
              Map.of(
                  "driver",
                  "host_device",
                  "filename",
                  inside.disks().get(index).device(),
                  "locking",
                  "off"));
      return List.of("-blockdev", QmpMessage.JSON.writeValueAsString(node));
    }

    /// Not in a machine.
    @Override
    public List<String> firmware() {
      return List.of();
    }

    @Override
    public String network(List<Integer> queues) {
      return tap(queues);
    }
  }

  /// The guest's own.
  record OfGuest(DiskImages images, Optional<UefiFiles> uefi) implements OnHost {
    static OfGuest of(Launch launch) {
      return new OfGuest(DiskImages.of(launch), UefiFiles.of(launch));
    }

    @Override
    public List<String> firmware() {
      return uefi.map(UefiFiles::arguments).orElse(List.of());
    }

    @Override
    public String name(GuestSpec spec) {
      return spec.name();
    }

    @Override
    public String monitor() {
      return "socket,id=qmp,fd=" + Descriptors.QMP + ",server=on,wait=off";
    }

    @Override
    public List<String> console() {
      return List.of(
          "-add-fd",
          "fd=" + Descriptors.CONSOLE_LOG + ",set=" + Descriptors.CONSOLE_LOG,
          "-chardev",
          "socket,id=console,fd="
              + Descriptors.CONSOLE
              + ",server=on,wait=off,logfile="
              + Descriptors.inSet(Descriptors.CONSOLE_LOG)
              + ",logappend=on");
    }

    @Override
    public String agent() {
      return "socket,id=agent,fd=" + Descriptors.AGENT + ",server=on,wait=off";
    }

    @Override
    public List<String> disk(int index, Disk disk) {
      return images.arguments(index, disk.access());
    }

    @Override
    public String network(List<Integer> queues) {
      return tap(queues);
    }

    @Override
    public String vhost(List<Integer> numbers) {
      return VhostNet.passed(numbers);
    }
  }

  /// Stand-ins for a rehearsal: nothing of the guest is behind them.
  ///
  /// @param diskBytes what each disk holds
  /// @param uefi the guest's own firmware, of which only the lengths count
  /// @param taps whether each queue of a card has a tap of its own; otherwise none is connected
  record OfRehearsal(List<Long> diskBytes, Optional<UefiFiles> uefi, boolean taps)
      implements OnHost {
    public OfRehearsal {
      diskBytes = List.copyOf(diskBytes);
    }

    @Override
    public List<String> firmware() {
      return uefi.map(UefiFiles::standIns).orElse(List.of());
    }

    @Override
    public String name(GuestSpec spec) {
      return spec.name() + "-rehearsal";
    }

    @Override
    public String monitor() {
      return "socket,id=qmp,fd=" + Descriptors.QMP;
    }

    @Override
    public List<String> console() {
      return List.of("-chardev", "null,id=console");
    }

    @Override
    public String agent() {
      return "null,id=agent";
    }

    @Override
    public List<String> disk(int index, Disk disk) {
      Map<String, ?> node =
          Map.of(
              "driver",
              "null-co",
              "node-name",
              "disk" + index,
              "read-only",
              disk.readOnly(),
              "size",
              diskBytes.get(index));
      return List.of("-blockdev", QmpMessage.JSON.writeValueAsString(node));
    }

    @Override
    public String network(List<Integer> queues) {
      // Each card on a hub of its own, which nothing else is connected to.
      return taps ? tap(queues) : "hubport,hubid=" + queues.getFirst();
    }
  }
}
