package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.Map;

/// Folders of this host that a virtual machine mounts (virtio-fs), and which somebody else serves.
/// Thread-safe.
public final class VmFolders {
  private final VmControl control;
  private final VmDevices devices;
  private final VmChannels channels;

  VmFolders(VmControl control, VmDevices devices, VmChannels channels) {
    this.control = control;
    this.devices = devices;
    this.channels = channels;
  }

  /// Plugs a folder in.
  ///
  /// @param id of the device and of the connection behind it
  /// @param tag by which the machine's kernel mounts it
  /// @param server a connected socket to the server; the machine gets a copy
  /// @param bus of a bridge
  /// @throws TroubleException when it is refused; nothing is left of it then
  public void add(String id, String tag, Fd server, String bus) {
    channels.addConnected(id, server);
    try {
      devices.plug(
          id + ".device", "vhost-user-fs-pci", Map.of("chardev", id, "tag", tag, "bus", bus));
    } catch (TroubleException e) {
      control.contained(() -> channels.remove(id));
      throw e;
    }
  }

  /// Takes such a folder away, which the machine's kernel must have unmounted, and with it the
  /// connection.
  ///
  /// @throws TroubleException when the machine does not let go of it
  public void remove(String id) {
    devices.unplug(id + ".device");
    channels.remove(id);
  }

  /// As [#remove], of something of which only a part may be there.
  public void clear(String id) {
    control.attempted(() -> devices.unplug(id + ".device"));
    control.attempted(() -> channels.remove(id));
    control.attempted(() -> control.execute("closefd", Map.of("fdname", id)));
  }
}
