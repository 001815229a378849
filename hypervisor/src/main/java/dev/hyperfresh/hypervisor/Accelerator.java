package dev.hyperfresh.hypervisor;

import java.util.Locale;

/// How a hypervisor executes guest code.
public enum Accelerator {
  /// The kernel's virtual machine, `/dev/kvm`.
  KVM,
  /// QEMU's translator: slow, and available everywhere.
  TCG;

  /// The name in specs, results and command lines: `kvm` or `tcg`.
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
