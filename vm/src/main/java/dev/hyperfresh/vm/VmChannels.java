package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.Map;

/// Channels into a virtual machine: character devices of its hardware, and ports, through which
/// programs inside use them. A port is called like the character device behind it. Thread-safe; all
/// methods throw a [TroubleException] when something is refused.
public final class VmChannels {
  private final VmControl control;
  private final VmDevices devices;

  VmChannels(VmControl control, VmDevices devices) {
    this.control = control;
    this.devices = devices;
  }

  /// A character device of the hardware.
  public void add(String id, String type, Map<String, ?> data, Fd... descriptors) {
    if (descriptors.length > 0) {
      control.execute("getfd", Map.of("fdname", id), descriptors);
    }
    control.execute("chardev-add", Map.of("id", id, "backend", backend(type, data)));
  }

  /// A character device that is a socket.
  ///
  /// @return its other end, connected
  public UnixSocket addSocket(String id) {
    UnixSocket.Pair pair = UnixSocket.pair();
    try (UnixSocket far = pair.right()) {
      addConnected(id, far.fd());
      return pair.left();
    } catch (RuntimeException e) {
      pair.left().close();
      throw e;
    }
  }

  /// A character device that is a socket which is connected already.
  ///
  /// @param socket the hardware gets a copy
  public void addConnected(String id, Fd socket) {
    Map<String, ?> address = Map.of("type", "fd", "data", Map.of("str", id));
    add(id, "socket", Map.of("addr", address, "server", false), socket);
  }

  /// Puts another backend under a character device.
  public void change(String id, String type, Map<String, ?> data) {
    control.execute("chardev-change", Map.of("id", id, "backend", backend(type, data)));
  }

  private static Map<String, ?> backend(String type, Map<String, ?> data) {
    return Map.of("type", type, "data", data);
  }

  /// Takes a character device away.
  public void remove(String id) {
    control.execute("chardev-remove", Map.of("id", id));
  }

  /// A port of the machine.
  ///
  /// @return the path by which a process inside opens it
  public String addPort(String id) {
    devices.plug(
        id + ".port", "virtserialport", Map.of("bus", "ports.0", "chardev", id, "name", id));
    return control.ask(a -> a.port(id, VirtualMachine.PLUG_LIMIT));
  }

  /// Takes a port away, and leaves the character device behind it.
  public void removePort(String id) {
    devices.unplug(id + ".port");
  }

  /// Takes a port and the character device behind it away, of which only a part may be there.
  public void clear(String id) {
    control.attempted(() -> removePort(id));
    control.attempted(() -> remove(id));
    control.attempted(() -> control.execute("closefd", Map.of("fdname", id)));
  }
}
