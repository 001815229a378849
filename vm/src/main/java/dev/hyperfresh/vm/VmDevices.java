package dev.hyperfresh.vm;

import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// Devices that come to a running virtual machine and go, of whatever kind. Thread-safe; all
/// methods throw a [TroubleException] when something is refused.
public final class VmDevices {
  private final VmControl control;

  VmDevices(VmControl control) {
    this.control = control;
  }

  /// Plugs in a device.
  public void plug(String id, String driver, Map<String, ?> properties) {
    Map<String, Object> arguments = new LinkedHashMap<>(properties);
    arguments.put("id", id);
    arguments.put("driver", driver);
    control.execute("device_add", arguments);
  }

  /// Unplugs a device, with the consent of the machine's kernel.
  public void unplug(String id) {
    control.execute("device_del", Map.of("id", id));
    control.awaitDeleted("device", id);
  }

  /// The bus of a bridge behind which another device has room, if there is one. A bridge that was
  /// there when the machine started has 31 places for devices that come and go.
  ///
  /// @param places how many of them may be taken
  public Optional<String> bridgeWithRoom(int places) {
    for (JsonNode bus : control.execute("query-pci", Map.of())) {
      for (JsonNode device : bus.path("devices")) {
        JsonNode bridge = device.path("pci_bridge");
        if (bridge.isObject() && bridge.path("devices").size() < places) {
          return Optional.of(device.path("qdev_id").asString(""));
        }
      }
    }
    return Optional.empty();
  }
}
