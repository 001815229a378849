package dev.hyperfresh.machine;

import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.qemu.QemuProcess.TroubleException;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/// A guest's memory as a piece of hardware of the machine, at an address that the hardware chooses.
/// For one thread at a time.
final class GuestWindow {
  private final Fittings fittings;
  private final String machine;

  /// @param machine its name
  GuestWindow(Fittings fittings, String machine) {
    this.fittings = fittings;
    this.machine = machine;
  }

  private String memory() {
    return fittings.id() + ".memory";
  }

  private String dimm() {
    return fittings.id() + ".window";
  }

  /// @return where the machine finds the memory in its own physical memory
  /// @throws TroubleException when the hardware refuses it
  long plug(MemFd guest) {
    fittings
        .vm()
        .lend(guest.fd(), (_, number) -> fittings.vm().addMemory(memory(), guest.bytes(), number));
    memoryIsThere();
    fittings.vm().plug(dimm(), "pc-dimm", Map.of("memdev", memory()));
    dimmIsThere();
    return plugged().path("addr").asLong();
  }

  /// One that an earlier daemon has plugged in.
  void found() {
    memoryIsThere();
    dimmIsThere();
  }

  private void memoryIsThere() {
    fittings.undoneBy(() -> fittings.vm().removeMemory(memory()));
  }

  private void dimmIsThere() {
    fittings.undoneBy(() -> fittings.vm().eject(dimm(), plugged().path("slot").asInt()));
  }

  private JsonNode plugged() {
    for (JsonNode device : fittings.vm().execute("query-memory-devices", Map.of())) {
      if (device.path("data").path("id").asString("").equals(dimm())) {
        return device.path("data");
      }
    }
    throw new TroubleException("machine " + machine + " has no window " + dimm());
  }
}
