package dev.hyperfresh.hypervisor;

import java.util.Optional;

/// A kind of hypervisor: `process` (a QEMU on this host) or `machine` (one in a virtual machine of
/// its own). It has a role a parent interface; none of their methods has a default, so that one
/// that wraps another cannot forget to pass a call on. Thread-safe.
public interface Hypervisor extends Launcher, Reattacher {
  /// The kind's name, as in [Release#kind].
  String kind();

  /// What takes over guests that something else started; empty where that is not possible.
  Optional<Adopter> adopter();
}
