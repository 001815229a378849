package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.qemu.QemuRelease;

/// What an OS VM is made of. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param release what runs in it
/// @param hardware the QEMU on this host that is its hardware, 10.0 or newer
/// @param accelerator what executes it
/// @param vcpus 1 to 64
/// @param memoryBytes of the OS and all its containers; a multiple of 1 MiB of at least
///   [#MIN_MEMORY_BYTES]
public record OsSettings(
    String name,
    OsRelease release,
    QemuRelease hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes) {
  /// Below this CRIU does not run beside a container.
  public static final long MIN_MEMORY_BYTES = 256L << 20;

  /// What an OS gets that nobody asked otherwise for.
  public static final long DEFAULT_MEMORY_BYTES = 1L << 30;
}
