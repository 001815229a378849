package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// A machine that HyperFresh did not build: how its kind builds it again, and where the process
/// that ran it at first keeps its things. Instances of generation 1 are that process.
///
/// @param words how the kind builds it again; their meaning is the kind's alone
/// @param control the control socket of the first process
/// @param console the socket of its serial console, when it has one
/// @param memoryDescriptor the number that the guest's memory has in the first process
/// @param ports in the order of the spec's cards
public record AdoptedMachine(
    List<String> words,
    Path control,
    Optional<Path> console,
    int memoryDescriptor,
    List<Port> ports) {
  public AdoptedMachine {
    words = List.copyOf(words);
    ports = List.copyOf(ports);
  }

  /// How a network card of the first process is attached.
  public sealed interface Port {
    /// By a queue of a tap that can have more queues.
    ///
    /// @param descriptor the number that the queue has in the first process
    record Queue(int descriptor) implements Port {}

    /// By a tap that can have no second queue and is a port of `bridge`: later instances get a tap
    /// of HyperFresh's own making in the same bridge.
    record Bridged(String tap, String bridge) implements Port {}
  }

  /// Whether an instance of this generation is the process that was adopted.
  public static boolean isFirst(int generation) {
    return generation == 1;
  }
}
