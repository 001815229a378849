package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.List;
import java.util.Optional;

/// The operating systems, as far as containers have to know them. Thread-safe.
interface Hosts {
  /// @throws HyperFreshException [Problem#OS_UNKNOWN]
  OsVm get(String name);

  Optional<OsVm> find(String name);

  List<OsVm> list();

  /// Why something of an earlier daemon is not taken back yet; empty when there is no such thing.
  ///
  /// @param what such as `OS web` or `Container web`
  String waiting(String what);

  /// Whether an OS is to be started, since the host has booted, and does not run yet.
  boolean isComing(String os);

  /// Whether a container of an earlier daemon is being taken back: nobody else may do anything with
  /// it until then.
  boolean isTakingBack(String container);

  /// Whether a container stands because it may have run in an OS that is gone.
  boolean isInDoubt(String name);
}
