package dev.hyperfresh.machine;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.qemu.QemuRelease;

/// What a machine is made of. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param release what runs in it
/// @param hardware the QEMU on this host that is its hardware, 10.0 or newer
/// @param accelerator what executes it
/// @param vcpus 1 to 64; a translated machine gets [#TRANSLATED_VCPUS]
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

  /// How many processors a translated machine has, whatever was asked for: with more of them QEMU's
  /// translator has ended machines with guests in them.
  public static final int TRANSLATED_VCPUS = 1;

  /// How many processors a machine gets that is to have `asked`.
  static int granted(Accelerator accelerator, int asked) {
    return accelerator == Accelerator.TCG ? Math.min(asked, TRANSLATED_VCPUS) : asked;
  }

  /// With as many processors as its accelerator can be trusted with.
  MachineSettings dependable() {
    return new MachineSettings(
        name, release, hardware, accelerator, granted(accelerator, vcpus), memoryBytes);
  }
}
