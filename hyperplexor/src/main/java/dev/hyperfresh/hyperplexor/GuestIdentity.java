package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Optional;

/// What stays the same of a guest as long as it lives, whatever runs it. Immutable.
///
/// @param adopted how to build the machine again, when something else built it at first
/// @param files the guest's folder
/// @param sockets where the control sockets of its instances are
/// @param confinement with which rights its instances run
record GuestIdentity(
    GuestSpec spec,
    AcceleratorChoice accelerator,
    Optional<AdoptedMachine> adopted,
    Path files,
    Path sockets,
    Instant createdAt,
    Confinement confinement) {
  String name() {
    return spec.name();
  }

  /// What is written down of it for the next daemon.
  ///
  /// @param generation the last one that was given out
  GuestFile file(
      GuestFile.Tenant running,
      Optional<GuestFile.Tenant> waiting,
      Optional<String> doubt,
      ClockLoss lost,
      int generation) {
    return new GuestFile(
        spec,
        accelerator,
        createdAt,
        confinement.user(),
        running,
        waiting,
        doubt,
        adopted,
        lost,
        generation);
  }
}
