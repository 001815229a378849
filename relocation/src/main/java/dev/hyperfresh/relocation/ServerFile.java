package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.vm.StateFile;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/// What a daemon writes down of a [FileService], so that the next one can end it. Immutable. In a
/// folder of the OS that it serves, of which that OS sees nothing.
///
/// @param process the server
record ServerFile(ProcessIdentity process) {
  /// @param folder of all servers of the OS
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void write(Path folder, String container) {
    StateFile.write(StateFile.of(StateFile.folder(folder), container), this);
  }

  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static void remove(Path folder, String container) {
    StateFile.remove(StateFile.of(folder, container));
  }

  /// All that are written down, by their containers.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static Map<String, ServerFile> all(Path folder) {
    Map<String, ServerFile> all = new HashMap<>();
    for (String container : StateFile.names(folder)) {
      StateFile.read(StateFile.of(folder, container), ServerFile.class)
          .ifPresent(server -> all.put(container, server));
    }
    return all;
  }
}
