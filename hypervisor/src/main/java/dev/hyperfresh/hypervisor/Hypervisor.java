package dev.hyperfresh.hypervisor;

import java.util.List;

/// A kind of hypervisor: `process` (a QEMU on this host), later others. Thread-safe.
public interface Hypervisor {
  /// The kind's name, as in [Release#kind].
  String kind();

  /// What keeps this guest from running on this release; empty when nothing is known to. Touches
  /// neither guest nor host.
  List<Obstacle> obstacles(GuestSpec spec, Release release, Accelerator accelerator);

  /// Fixes, in the folder `launch.files()`, whatever later instances need to be the same machine on
  /// another release. Called once, before the first start.
  void pin(Launch launch);

  /// Starts an instance that boots the guest.
  ///
  /// @throws HyperFreshException [Problem#GUEST_START]
  Instance start(Launch launch);

  /// Starts an instance that waits for the guest's state and does not touch its memory.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  Instance startWaiting(Launch launch);
}
