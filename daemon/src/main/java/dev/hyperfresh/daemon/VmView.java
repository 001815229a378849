package dev.hyperfresh.daemon;

import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmSettings;
import java.util.List;

/// A virtual machine of ours as it is at one moment, for [Views]. Immutable.
///
/// @param settings what it is made of
/// @param ended whether it is gone
/// @param pid the process on this host that is its hardware
/// @param bootMs from the start of its hardware until it could take somebody, milliseconds
/// @param memoryFreeKib what it had left for programs then, KiB
/// @param acceleratorReason why it is executed as it is, for people
/// @param tenants the names of those in it
/// @param <R> what it boots
record VmView<R extends VmRelease>(
    VmSettings<R> settings,
    boolean ended,
    int pid,
    double bootMs,
    long memoryFreeKib,
    String acceleratorReason,
    List<String> tenants) {
  VmView {
    tenants = List.copyOf(tenants);
  }

  /// Of one that is there or was.
  static <R extends VmRelease> VmView<R> of(
      VmKind.Member<R> vm, boolean ended, String acceleratorReason, List<String> tenants) {
    return new VmView<>(
        vm.settings(),
        ended,
        vm.pid(),
        vm.bootMs(),
        vm.hello().memoryFreeKib(),
        acceleratorReason,
        tenants);
  }
}
