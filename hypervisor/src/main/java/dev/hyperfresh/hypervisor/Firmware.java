package dev.hyperfresh.hypervisor;

import java.util.List;
import java.util.Locale;

/// What a guest boots with, beside its kernel or disk.
///
/// @param kind which firmware
/// @param tpm whether the guest has an emulated TPM 2.0
public record Firmware(Kind kind, boolean tpm) {
  /// A PC as it was.
  public static final Firmware DEFAULT = new Firmware(Kind.BIOS, false);

  /// Those that have a mode in which the guest's own system cannot write the variables.
  private static final String WITH_SMM = "pc-q35-";

  /// Which firmware.
  public enum Kind {
    /// The hypervisor's own.
    BIOS,
    /// One that keeps its variables in a file of the guest's.
    UEFI,
    /// The same, which boots only what is signed.
    UEFI_SECURE;

    /// The word in a spec.
    public String label() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /// Every fault, as [GuestSpec#faults].
  List<String> faults(String machine) {
    return kind == Kind.UEFI_SECURE && !machine.startsWith(WITH_SMM)
        ? List.of(
            "firmware: uefi-secure needs system management mode; choose a machine type such as"
                + " pc-q35-7.2")
        : List.of();
  }
}
