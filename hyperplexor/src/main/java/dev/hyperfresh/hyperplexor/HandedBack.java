package dev.hyperfresh.hyperplexor;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/// A guest that was given back to the manager that it was borrowed from, and what the manager has
/// to know of the process that runs it now.
///
/// @param name what it was called here
/// @param pid the process
/// @param vcpus the thread of each processor, by the processor's number
/// @param terminals the pseudo-terminals that the process has opened, such as `/dev/pts/3`, by the
///   names of the guest's character devices
/// @param taps the network interfaces that have others in their place, and those others
/// @param program what the process runs
public record HandedBack(
    String name,
    int pid,
    Map<Integer, Integer> vcpus,
    Map<String, String> terminals,
    Map<String, String> taps,
    Path program) {
  public HandedBack {
    vcpus = Map.copyOf(vcpus);
    terminals = Map.copyOf(terminals);
    taps = Map.copyOf(taps);
  }

  /// The names that guests had here which a release still runs, since they were handed back.
  ///
  /// @param directory the state directory
  /// @param release its full name
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException
  ///   [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE]
  public static List<String> on(Path directory, String release) {
    return new HandedFolders(directory).on(release);
  }
}
