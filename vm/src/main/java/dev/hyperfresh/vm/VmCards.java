package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.LinkedHashMap;
import java.util.Map;

/// Network cards that come to a running virtual machine and go. Each has one backend, which is
/// called like it. Thread-safe; all methods throw a [TroubleException] when something is refused.
public final class VmCards {
  private static final long HOLD_MICROS = 4_000_000_000L;

  /// A card whose packets always have the same header, 10 bytes, and never more than one segment.
  ///
  /// Header length and offloads belong to the whole port and not to one queue of it. A card sets
  /// them for whatever its driver negotiates, and again when it is reset: so a card that is
  /// unplugged after its guest has left would change them under the next hypervisor. This one has
  /// nothing to set.
  private static final Map<String, Object> PLAIN_CARD =
      Map.ofEntries(
          Map.entry("disable-modern", true),
          Map.entry("disable-legacy", "off"),
          Map.entry("mrg_rxbuf", false),
          Map.entry("ctrl_guest_offloads", false),
          Map.entry("guest_csum", false),
          Map.entry("guest_tso4", false),
          Map.entry("guest_tso6", false),
          Map.entry("guest_ecn", false),
          Map.entry("guest_ufo", false),
          Map.entry("guest_uso4", false),
          Map.entry("guest_uso6", false));

  private final VmControl control;
  private final VmDevices devices;

  VmCards(VmControl control, VmDevices devices) {
    this.control = control;
    this.devices = devices;
  }

  /// Plugs in a network card that leaves the port it is on as it is.
  ///
  /// @param id of the card
  /// @param mac its own address
  /// @param queue a queue of the port
  public void add(String id, String mac, Fd queue) {
    add(id, mac, queue, "tap", Map.of());
  }

  /// As [#add(String, String, Fd)], behind a bridge.
  ///
  /// @param bus of the bridge
  public void add(String id, String mac, Fd queue, String bus) {
    add(id, mac, queue, "tap", Map.of("bus", bus));
  }

  /// Plugs in a network card that is connected to one of another machine, which has the other end
  /// of `socket` (QEMU's `NetdevSocketOptions`).
  ///
  /// @param socket a connected stream socket; the machine gets a copy
  /// @param bus of a bridge
  /// @throws TroubleException when it is refused; nothing is left of it then
  public void addLink(String id, String mac, Fd socket, String bus) {
    add(id, mac, socket, "socket", Map.of("bus", bus));
  }

  private void add(String id, String mac, Fd fd, String backend, Map<String, Object> place) {
    control.execute("getfd", Map.of("fdname", id), fd);
    control.execute("netdev_add", Map.of("type", backend, "id", id, "fd", id));
    Map<String, Object> card = new LinkedHashMap<>(PLAIN_CARD);
    card.putAll(place);
    card.putAll(Map.of("netdev", id, "mac", mac, "romfile", ""));
    try {
      devices.plug(id + ".device", "virtio-net-pci", card);
    } catch (TroubleException e) {
      control.contained(() -> removeBackend(id));
      throw e;
    }
  }

  private void removeBackend(String id) {
    control.execute("netdev_del", Map.of("id", id));
  }

  /// Packets for a card wait in the hardware from now on, in their order (`filter-buffer`). The
  /// interval after which QEMU would deliver them by itself is the longest there is, more than an
  /// hour.
  public void hold(String id) {
    control.execute(
        "object-add",
        Map.of(
            "qom-type",
            "filter-buffer",
            "id",
            id + ".hold",
            "netdev",
            id,
            "queue",
            "tx",
            "interval",
            HOLD_MICROS));
  }

  /// The card gets what has waited since [#hold], and what comes.
  public void deliver(String id) {
    control.execute("object-del", Map.of("id", id + ".hold"));
  }

  /// Whether a card neither sends nor receives.
  public void silence(String id, boolean silent) {
    control.execute("set_link", Map.of("name", id, "up", !silent));
  }

  /// Takes a network card away.
  public void remove(String id) {
    try {
      devices.unplug(id + ".device");
    } finally {
      removeBackend(id);
    }
  }

  /// As [#remove], of a card of which only a part may be there.
  public void clear(String id) {
    control.attempted(() -> remove(id));
    control.attempted(() -> control.execute("closefd", Map.of("fdname", id)));
  }
}
