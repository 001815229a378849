package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.KvmProbe;

/// Which accelerator a guest gets, and why, in one sentence for users.
public record AcceleratorChoice(Accelerator accelerator, String reason) {

  /// Chooses from what the spec asks for and what the host was seen to do.
  ///
  /// `auto` takes KVM only where a probe saw guest ring 0 run at speed: a device that opens is not
  /// yet one that can boot an operating system.
  ///
  /// @throws HyperFreshException [Problem#HOST_MISSING] when the spec insists on KVM and the device
  ///   cannot be opened
  public static AcceleratorChoice choose(GuestSpec.AcceleratorWish wish, KvmProbe.Result kvm) {
    return switch (wish) {
      case TCG -> new AcceleratorChoice(Accelerator.TCG, "the guest's spec asks for it");
      case KVM -> {
        if (!opens(kvm)) {
          throw Problem.HOST_MISSING.because("The spec asks for KVM, but " + kvm.reason());
        }
        yield new AcceleratorChoice(Accelerator.KVM, "the guest's spec asks for it");
      }
      case AUTO ->
          kvm.verdict() == KvmProbe.Verdict.USABLE
              ? new AcceleratorChoice(Accelerator.KVM, kvm.reason())
              : new AcceleratorChoice(Accelerator.TCG, kvm.reason());
    };
  }

  private static boolean opens(KvmProbe.Result kvm) {
    return kvm.verdict() == KvmProbe.Verdict.USABLE || kvm.verdict() == KvmProbe.Verdict.SLOW_RING0;
  }
}
