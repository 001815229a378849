package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.linux.ProcessIdentity;
import java.nio.file.Path;
import java.util.Optional;

/// What a daemon writes down of a virtual machine, so that the next one can take it back with all
/// that runs in it. Immutable.
///
/// @param process the QEMU that is its hardware
/// @param booted whether it ever could take anybody
/// @param release by name, as is the hardware
/// @param bootMs from the start of its hardware until then, milliseconds
public record VmFile(
    ProcessIdentity process,
    boolean booted,
    String release,
    String hardware,
    Accelerator accelerator,
    int vcpus,
    long memoryBytes,
    double bootMs) {
  /// Its name, in the folder of the machine.
  public static final String NAME = "vm.json";

  /// Of a machine whose hardware is about to be started.
  public static VmFile of(VmSettings<?> settings) {
    return new VmFile(
        ProcessIdentity.NONE,
        false,
        settings.release().name(),
        settings.hardware().name(),
        settings.accelerator(),
        settings.vcpus(),
        settings.memoryBytes(),
        0);
  }

  /// Its hardware has been started.
  public VmFile on(ProcessIdentity hardwareProcess) {
    return new VmFile(
        hardwareProcess, booted, release, hardware, accelerator, vcpus, memoryBytes, bootMs);
  }

  /// It can take somebody from now on.
  public VmFile asBooted(double millis) {
    return new VmFile(process, true, release, hardware, accelerator, vcpus, memoryBytes, millis);
  }

  /// @param folder of the machine
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  public void write(Path folder) {
    StateFile.write(folder.resolve(NAME), this);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE when it is damaged, or
  ///   cannot be understood
  public static Optional<VmFile> read(Path folder) {
    return StateFile.readWithSum(folder.resolve(NAME), VmFile.class);
  }

  /// One that was ended is not to come back because the host lost its power.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE
  public static void remove(Path folder) {
    StateFile.forget(folder.resolve(NAME));
  }
}
