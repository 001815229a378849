package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/// Which process is to be taken under management.
///
/// @param name what the guest is to be called
/// @param pid the hypervisor's process
/// @param control its control socket
/// @param console the socket of its serial console; empty to find it out
/// @param files the guest's folder, which is there and empty: boot files are pinned into it
/// @param copy whether memory that is private to the process may be copied once, and is no reason
///   against the adoption
/// @param earlier how the process was started, when HyperFresh started it and has handed it back
/// @param borrowed whether the guest has a manager that takes it back and finds it again by what it
///   knows: the sockets of its monitors, its terminals, its name
public record AdoptRequest(
    String name,
    int pid,
    Path control,
    Optional<Path> console,
    Path files,
    boolean copy,
    Optional<Earlier> earlier,
    boolean borrowed) {

  /// What is kept of a guest that was handed back, for as long as its process lives.
  ///
  /// @param files the folder that was the guest's
  /// @param words as in [AdoptedMachine]
  public record Earlier(Path files, List<String> words) {
    public Earlier {
      words = List.copyOf(words);
    }
  }
}
