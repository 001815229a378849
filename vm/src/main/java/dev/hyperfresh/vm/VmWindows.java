package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Fd;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import tools.jackson.databind.JsonNode;

/// Windows of a virtual machine: memory that somebody else owns, plugged in as hardware, of which
/// the machine's own kernel makes no use. A memory is first added to the hardware and then shown by
/// a window. Thread-safe; all methods throw a [TroubleException] when something is refused.
public final class VmWindows {
  private static final long LOOK_NANOS = 5_000_000;

  private final VmControl control;
  private final VmDevices devices;
  private final VmDescriptors descriptors;
  private final boolean translated;

  /// Held while memories come and go.
  private final Object memories = new Object();

  /// @param translated whether QEMU's translator executes the machine
  VmWindows(VmControl control, VmDevices devices, VmDescriptors descriptors, boolean translated) {
    this.control = control;
    this.devices = devices;
    this.descriptors = descriptors;
    this.translated = translated;
  }

  /// Adds memory to the hardware.
  ///
  /// @param file what it is made of; the hardware keeps it mapped
  public void addMemory(String id, Fd file, long bytes) {
    descriptors.lend(file, (_, number) -> addMemory(id, bytes, number));
  }

  private void addMemory(String id, long bytes, int descriptor) {
    synchronized (memories) {
      control.execute(
          "object-add",
          Map.of(
              "qom-type",
              "memory-backend-file",
              "id",
              id,
              "size",
              bytes,
              "mem-path",
              "/proc/self/fd/" + descriptor,
              "share",
              true));
    }
  }

  /// Plugs in a window onto a memory, at an address that the hardware chooses.
  ///
  /// @param memory from [#addMemory]
  public void plug(String window, String memory) {
    devices.plug(window, "pc-dimm", Map.of("memdev", memory));
  }

  /// Where the machine finds a window in its own physical memory.
  public long address(String window) {
    return plugged(window).path("addr").asLong();
  }

  /// Takes a window from the machine. Its kernel knows nothing of windows, so that its agent does
  /// what a kernel would. Nothing inside may have it mapped.
  public void eject(String window) {
    int slot = plugged(window).path("slot").asInt();
    control.tell(a -> a.eject(slot));
    control.awaitDeleted("window", window);
  }

  private JsonNode plugged(String window) {
    for (JsonNode device : control.execute("query-memory-devices", Map.of())) {
      if (device.path("data").path("id").asString("").equals(window)) {
        return device.path("data");
      }
    }
    throw new TroubleException(control.label() + " has no window " + window);
  }

  /// Takes the memory behind a window away.
  ///
  /// QEMU's translator finds translated code by the address that the memory had in its own list of
  /// memories, and forgets none of it when the memory goes. Another guest that got these addresses
  /// would run the code of the first: seen as a guest whose BIOS did not find its memory. So, where
  /// a machine is translated, they are given to a piece of memory that nobody ever touches.
  public void removeMemory(String id) {
    synchronized (memories) {
      long bytes = bytesOf(id);
      long before = countMemories();
      control.execute("object-del", Map.of("id", id));
      if (translated) {
        spend(id, bytes, before);
      }
    }
  }

  private long bytesOf(String memory) {
    for (JsonNode backend : control.execute("query-memdev", Map.of())) {
      if (backend.path("id").asString("").equals(memory)) {
        return backend.path("size").asLong();
      }
    }
    throw new TroubleException(control.label() + " has no memory " + memory);
  }

  private void spend(String id, long bytes, long before) {
    long deadline = Clock.monotonicNanos() + VmControl.UNPLUG_LIMIT.toNanos();
    while (countMemories() >= before) {
      if (Clock.monotonicNanos() > deadline) {
        throw new TroubleException(control.label() + " does not release memory " + id);
      }
      LockSupport.parkNanos(LOOK_NANOS);
    }
    control.execute(
        "object-add",
        Map.of(
            "qom-type",
            "memory-backend-ram",
            "id",
            id + ".spent",
            "size",
            bytes,
            "reserve",
            false));
  }

  /// A memory without a device has no name in this list, and can be seen there by its number alone.
  private long countMemories() {
    return control
        .execute("human-monitor-command", Map.of("command-line", "info ramblock"))
        .asString("")
        .lines()
        .count();
  }
}
