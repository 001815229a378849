package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.qemu.QemuRelease;

/// What a machine is made of. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param release what runs in it
/// @param hardware the QEMU on this host that is its hardware, 10.0 or newer
/// @param accelerator what executes it
/// @param vcpus 1 to 64
/// @param memoryBytes its own memory, guests' memory not counted; a multiple of 1 MiB of at least
///   [#MIN_MEMORY_BYTES]
public record MachineSettings(
    String name,
    MachineRelease release,
    QemuRelease hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes) {
  /// Below this the machine's userland does not fit beside a guest's QEMU.
  public static final long MIN_MEMORY_BYTES = 512L << 20;

  /// What a machine gets that nobody asked otherwise for.
  public static final long DEFAULT_MEMORY_BYTES = 1L << 30;
}
