package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Comparator;
import java.util.Set;
import java.util.stream.Stream;

/// Folders of the state directory, which nobody else may change.
final class OwnFolder {
  // linux/stat.h S_ISVTX
  private static final int STICKY = 01000;

  private static final String PASSABLE = "rwx--x--x";
  private static final String CLOSED = "rwx------";
  private static final String UNFINISHED = "unfinished";

  private OwnFolder() {}

  /// A folder for this user alone: made, or taken over when it is the user's.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static void closed(Path folder) {
    make(folder, CLOSED);
  }

  /// A folder through which others may pass on the way to something in it that is open to them.
  static void passable(Path folder) {
    make(folder, PASSABLE);
  }

  private static void make(Path folder, String mode) {
    Set<PosixFilePermission> permissions = PosixFilePermissions.fromString(mode);
    try {
      Files.createDirectories(folder, PosixFilePermissions.asFileAttribute(permissions));
      if (!Files.getAttribute(folder, "unix:uid").equals(Host.effectiveUid())) {
        throw Problem.DAEMON_STATE.because(folder + " belongs to another user.");
      }
      // A folder such as /tmp would be lost to everybody else.
      if (((int) Files.getAttribute(folder, "unix:mode") & STICKY) != 0) {
        throw Problem.DAEMON_STATE.because(folder + " is shared by all users.");
      }
      Files.setPosixFilePermissions(folder, permissions);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be created: " + e.getMessage(), e);
    }
  }

  /// As [#closed], or as [#passable]; its path without links.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static Path real(Path folder, boolean passable) {
    make(folder, passable ? PASSABLE : CLOSED);
    try {
      return folder.toRealPath();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be found: " + e.getMessage(), e);
    }
  }

  /// Marks a folder as one that means nothing before [#finish]: whoever finds the mark may remove
  /// it.
  static void begin(Path folder) {
    try {
      Files.createFile(folder.resolve(UNFINISHED));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// The folder means something from now on.
  static void finish(Path folder) {
    Contained.run(
        "unmarking " + folder,
        () -> {
          try {
            Files.deleteIfExists(folder.resolve(UNFINISHED));
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  /// Whether it is empty, or [#begin] was not followed by [#finish].
  static boolean isUnfinished(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return Files.exists(folder.resolve(UNFINISHED)) || files.findAny().isEmpty();
    } catch (IOException e) {
      return false;
    }
  }

  /// Removes a folder with all that is in it; does nothing where there is none.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static void delete(Path folder) {
    if (!Files.exists(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
