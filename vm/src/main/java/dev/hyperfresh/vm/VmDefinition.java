package dev.hyperfresh.vm;

import dev.hyperfresh.linux.Host;
import java.nio.file.Path;
import java.util.Optional;

/// What a daemon writes down of a virtual machine until it is deleted, so that it can be started
/// again. Immutable.
///
/// @param release what it boots, by its full name
/// @param autostart whether it is started when the host has booted
/// @param boot the boot of the host in which it was looked after last, as [Host#bootId] has it
/// @param hardware the release that it ran on last, by its full name; an earlier version of
///   HyperFresh wrote none
public record VmDefinition(
    String release,
    int vcpus,
    long memoryBytes,
    boolean autostart,
    String boot,
    Optional<String> hardware) {
  /// Its name, in the folder of the virtual machine.
  static final String NAME = "definition.json";

  /// Of one that is made now. Who is in it expects it to be there when the host has booted.
  static VmDefinition of(VmSettings<?> settings) {
    return new VmDefinition(
        settings.release().name(),
        settings.vcpus(),
        settings.memoryBytes(),
        true,
        Host.bootId(),
        Optional.of(settings.hardware().name()));
  }

  /// Of one of a daemon that wrote down less.
  static VmDefinition of(VmFile file) {
    return new VmDefinition(
        file.release(),
        file.vcpus(),
        file.memoryBytes(),
        true,
        file.process().boot(),
        Optional.of(file.hardware()));
  }

  /// The same, looked after in this boot of the host.
  VmDefinition here() {
    return new VmDefinition(release, vcpus, memoryBytes, autostart, Host.bootId(), hardware);
  }

  /// The same, which runs on a release.
  VmDefinition on(String otherHardware) {
    return new VmDefinition(
        release, vcpus, memoryBytes, autostart, boot, Optional.of(otherHardware));
  }

  VmDefinition autostart(boolean on) {
    return new VmDefinition(release, vcpus, memoryBytes, on, boot, hardware);
  }

  /// Whether the host has booted since, and it is to be started then.
  boolean isDue() {
    return autostart && !boot.equals(Host.bootId());
  }

  void write(Path folder) {
    StateFile.keep(folder.resolve(NAME), this);
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException DAEMON_STATE when it is damaged, or
  ///   cannot be understood
  static Optional<VmDefinition> read(Path folder) {
    return StateFile.readWithSum(folder.resolve(NAME), VmDefinition.class);
  }

  static void remove(Path folder) {
    StateFile.forget(folder.resolve(NAME));
  }
}
