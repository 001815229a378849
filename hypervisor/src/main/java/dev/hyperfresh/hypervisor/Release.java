package dev.hyperfresh.hypervisor;

import java.util.Map;
import java.util.Set;

/// A named, verified build of a hypervisor, such as `qemu-10.0.2+deb13u1`. Immutable.
public interface Release {
  /// The unique name, such as `qemu-10.0.2+deb13u1`.
  String name();

  /// The kind of hypervisor that runs it: `process` or `machine`.
  String kind();

  /// The version the build itself reported, such as `10.0.2`.
  String version();

  /// What it is made of and in which version, for people: `qemu`, and `kernel` where it brings one.
  default Map<String, String> parts() {
    return Map.of();
  }

  /// Whether a guest that sleeps ([RunState#SUSPENDED]) still sleeps after it was handed from or to
  /// this release.
  default boolean keepsSuspended() {
    return false;
  }

  /// Every machine type the build itself listed.
  Set<String> machines();
}
