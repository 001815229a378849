package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.vm.VmDefinition;
import dev.hyperfresh.vm.VmKind;
import dev.hyperfresh.vm.VmRelease;
import dev.hyperfresh.vm.VmSettings;
import java.util.List;
import java.util.Optional;

/// A virtual machine of ours as it is at one moment, for [Views]. Immutable.
///
/// @param state `running`, `ended`, `stopped`, or `starting` when it is to be started, since the
///   host has booted
/// @param autostart whether it is started when the host has booted
/// @param release what it boots, by its full name
/// @param installed the same, unless somebody has removed it
/// @param hardware the QEMU that it runs on; empty when it is stopped
/// @param accelerator what executes it, or would now
/// @param acceleratorReason why it is executed as it is, for people
/// @param pid the process on this host that is its hardware; 0 when it is stopped
/// @param bootMs from the start of its hardware until it could take somebody, milliseconds
/// @param memoryFreeKib what it had left for programs then, KiB
/// @param tenants the names of those in it
/// @param <R> what it boots
record VmView<R extends VmRelease>(
    String name,
    String state,
    boolean autostart,
    String release,
    Optional<R> installed,
    String hardware,
    String accelerator,
    String acceleratorReason,
    int vcpus,
    long memoryBytes,
    int pid,
    double bootMs,
    long memoryFreeKib,
    List<String> tenants) {
  VmView {
    tenants = List.copyOf(tenants);
  }

  /// Of one that is there or was.
  static <R extends VmRelease> VmView<R> of(
      VmKind.Member<R> vm, boolean autostart, String acceleratorReason, List<String> tenants) {
    VmSettings<R> settings = vm.settings();
    return new VmView<>(
        settings.name(),
        vm.ended() ? "ended" : "running",
        autostart,
        settings.release().name(),
        Optional.of(settings.release()),
        settings.hardware().name(),
        settings.accelerator().label(),
        acceleratorReason,
        settings.vcpus(),
        settings.memoryBytes(),
        vm.pid(),
        vm.bootMs(),
        vm.hello().memoryFreeKib(),
        tenants);
  }

  /// Of one that is stopped.
  ///
  /// @param due whether it is to be started
  static <R extends VmRelease> VmView<R> stopped(
      String name,
      VmDefinition made,
      boolean due,
      Optional<R> installed,
      AcceleratorChoice accelerator) {
    return new VmView<>(
        name,
        due ? "starting" : "stopped",
        made.autostart(),
        made.release(),
        installed,
        "",
        accelerator.accelerator().label(),
        accelerator.reason(),
        made.vcpus(),
        made.memoryBytes(),
        0,
        0,
        0,
        List.of());
  }
}
