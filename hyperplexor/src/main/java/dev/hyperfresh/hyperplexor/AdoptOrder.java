package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.AdoptRequest;
import dev.hyperfresh.hypervisor.FoundProcess;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import java.util.function.Function;

/// A process that something else started and that is to be taken under management.
///
/// @param name what its guest is to be called
/// @param control the process's control socket
/// @param console the socket of its serial console; empty to find it out
/// @param releases finds the release that a process runs, given what a start of it needs; called
///   when nothing speaks against the adoption any more, and asks the process whether it is the same
///   before it runs anything
/// @param copy what is done about memory that is private to the process; without it such a guest is
///   refused
/// @param borrowed whether the guest has a manager that gets it back by [Hyperplexor#handBack]
public record AdoptOrder(
    String name,
    int pid,
    Path control,
    Optional<Path> console,
    BiFunction<FoundProcess, List<String>, Release> releases,
    Optional<Copy> copy,
    boolean borrowed) {

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_INVALID] when no guest can
  ///   have the name
  public AdoptOrder {
    if (!GuestSpec.isName(name)) {
      throw Problem.SPEC_INVALID.because(
          "name: '" + name + "' is not 1 to 32 letters, digits or '-', starting with a letter");
    }
  }

  /// How private memory is copied. Memory that another process can map is never copied.
  ///
  /// @param target chooses the release that runs the guest afterwards
  /// @param limits within which it is copied, or else the guest is not adopted
  /// @param ended takes the record of the move that copies it, however it ended
  public record Copy(
      Function<GuestSpec, Release> target, MemoryCopy limits, Consumer<ReplacementRecord> ended) {}

  /// @param files the guest's folder
  /// @param earlier how the process was started, when it was handed back
  AdoptRequest request(Path files, Optional<AdoptRequest.Earlier> earlier) {
    return new AdoptRequest(
        name, pid, control, console, files, copy.isPresent(), earlier, borrowed);
  }
}
