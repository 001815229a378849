package dev.hyperfresh.hypervisor;

/// Receives what an instance reports. Called on the instance's reader thread, in order; must not
/// block and must not call the instance.
@FunctionalInterface
public interface InstanceEvents {
  /// One event has arrived.
  void on(InstanceEvent event);
}
