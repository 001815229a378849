package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;

/// What a daemon writes down of a [FileService], so that the next one can end it. Immutable. In a
/// folder of the OS that it serves, of which that OS sees nothing.
///
/// @param process the server
record ServerFile(OsFile.Identity process) {
  private static final String ENDING = ".json";

  /// @param folder of all servers of the OS
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void write(Path folder, String container) {
    try {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + ": " + e.getMessage(), e);
    }
    StateFile.write(folder.resolve(container + ENDING), this);
  }

  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static void remove(Path folder, String container) {
    StateFile.remove(folder.resolve(container + ENDING));
  }

  /// All that are written down, by their containers.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static Map<String, ServerFile> all(Path folder) {
    Map<String, ServerFile> all = new HashMap<>();
    if (!Files.isDirectory(folder)) {
      return all;
    }
    try (Stream<Path> files = Files.list(folder)) {
      files.forEach(file -> {
        String name = String.valueOf(file.getFileName());
        if (name.endsWith(ENDING)) {
          StateFile.read(file, ServerFile.class)
              .ifPresent(
                  server -> all.put(name.substring(0, name.length() - ENDING.length()), server));
        }
      });
      return all;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be read: " + e.getMessage(), e);
    }
  }
}
