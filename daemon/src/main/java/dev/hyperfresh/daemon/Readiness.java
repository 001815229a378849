package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.sql.DriverManager;
import java.sql.SQLException;

/// What a daemon looks at before it takes over from another one. That one lets go of everything
/// before the next one opens its own files, so whatever can be found to fail is found before.
final class Readiness {
  private static final String PROBE = ".next-daemon";

  /// More than a new daemon writes before it serves.
  private static final int PROBE_BYTES = 1 << 20;

  private Readiness() {}

  /// Does nothing where there is no state directory, and so nobody to take over from.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE] when a daemon could not work there
  static void require(Path state) {
    if (!Files.isDirectory(state)) {
      return;
    }
    var _ = Roles.read(state);
    loadDatabase();
    write(state.resolve(PROBE));
  }

  /// Its library is unpacked when it is loaded.
  private static void loadDatabase() {
    try {
      DriverManager.getConnection("jdbc:sqlite::memory:").close();
    } catch (SQLException e) {
      throw Problem.DAEMON_STATE.because(
          "The library of the history's database cannot be loaded: " + e.getMessage() + ".", e);
    }
  }

  private static void write(Path probe) {
    try {
      Files.deleteIfExists(probe);
      try (FileChannel file =
          FileChannel.open(probe, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        ByteBuffer bytes = ByteBuffer.allocate(PROBE_BYTES);
        while (bytes.hasRemaining()) {
          file.write(bytes);
        }
        file.force(true);
      } finally {
        Files.deleteIfExists(probe);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(
          "The state directory cannot be written: " + e.getMessage() + ".", e);
    }
  }
}
