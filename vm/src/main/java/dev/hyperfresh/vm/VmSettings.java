package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.qemu.QemuRelease;

/// What a virtual machine is made of. Immutable.
///
/// @param name 1 to 32 characters: letters, digits, `-`, starting with a letter
/// @param release what runs in it
/// @param hardware the QEMU on this host that is its hardware, 10.0 or newer
/// @param accelerator what executes it
/// @param vcpus 1 to 64; a machine that is translated gets 1
/// @param memoryBytes its own memory; a multiple of 1 MiB of at least what its kind needs
/// @param <R> the kind of its release
public record VmSettings<R extends VmRelease>(
    String name,
    R release,
    QemuRelease hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes) {
  /// What a virtual machine gets that nobody asked otherwise for.
  public static final long DEFAULT_MEMORY_BYTES = 1L << 30;

  /// No virtual machine of ours has more.
  public static final int MOST_VCPUS = 64;

  /// With as many processors as its accelerator can be trusted with.
  ///
  /// @param mostTranslated how many one may have that is translated, whatever was asked for
  VmSettings<R> dependable(int mostTranslated) {
    int granted = accelerator == Accelerator.TCG ? Math.min(vcpus, mostTranslated) : vcpus;
    return new VmSettings<>(name, release, hardware, accelerator, granted, memoryBytes);
  }

  /// Checks that such a machine can be.
  ///
  /// @param leastMemoryBytes what its kind needs
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_INVALID],
  ///   [Problem#SPEC_MEMORY] when this host has not that much
  void check(long leastMemoryBytes) {
    if (!GuestSpec.isName(name)) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
    if (memoryBytes < leastMemoryBytes || memoryBytes % (1 << 20) != 0) {
      throw Problem.SPEC_INVALID.because(
          "memory: "
              + memoryBytes
              + " bytes is not a multiple of 1 MiB of at least "
              + (leastMemoryBytes >> 20)
              + " MiB");
    }
    if (vcpus < 1 || vcpus > MOST_VCPUS) {
      throw Problem.SPEC_INVALID.because("vcpus: " + vcpus + " is not between 1 and " + MOST_VCPUS);
    }
    if (memoryBytes > Host.availableMemoryBytes()) {
      throw Problem.SPEC_MEMORY.because(
          (memoryBytes >> 20)
              + " MiB asked for, "
              + (Host.availableMemoryBytes() >> 20)
              + " MiB available.");
    }
  }
}
