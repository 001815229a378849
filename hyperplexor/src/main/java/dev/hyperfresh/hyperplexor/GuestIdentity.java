package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AcceleratorChoice;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.MemoryPart;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/// What stays the same of a guest from its start to its end, whatever runs it. Immutable.
///
/// @param adopted how to build the machine again, when something else built it at first
/// @param files the guest's folder
/// @param sockets where the control sockets of its instances are
record GuestIdentity(
    GuestSpec spec,
    AcceleratorChoice accelerator,
    Optional<AdoptedMachine> adopted,
    Path files,
    Path sockets,
    Instant createdAt) {
  /// What was written down of it.
  static GuestIdentity of(GuestFile file, Path files, Path sockets) {
    return new GuestIdentity(
        file.spec(), file.accelerator(), file.adopted(), files, sockets, file.createdAt());
  }

  /// Of what the memory of a guest is made.
  static List<MemoryPart> memory(GuestSpec spec, Optional<AdoptedMachine> adopted) {
    return adopted.map(AdoptedMachine::parts).orElseGet(spec::memoryParts);
  }

  /// Of what its memory is made.
  List<MemoryPart> memory() {
    return memory(spec, adopted);
  }

  String name() {
    return spec.name();
  }

  /// The same guest as another machine.
  GuestIdentity as(GuestSpec other, AcceleratorChoice choice) {
    return new GuestIdentity(other, choice, adopted, files, sockets, createdAt);
  }
}
