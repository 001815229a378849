package dev.hyperfresh.release;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.stream.Stream;

/// Copies of files of this host, which stay as they are when the originals are replaced. Where the
/// file system can share blocks between files (btrfs, XFS), a copy on the same one takes no room:
/// the JDK copies with copy_file_range(2), in which the kernel does that by itself.
public final class FileCopies {
  private FileCopies() {}

  /// Copies one file with its mode and times. A link is followed.
  public static void file(Path from, Path to) throws IOException {
    makeFolder(to.resolveSibling(""));
    Files.copy(from, to, StandardCopyOption.COPY_ATTRIBUTES);
  }

  /// Copies a folder with all files in it. Links to files are followed, since what they lead to may
  /// be replaced, too; other links and what is no file are left out. Folders can be read by all.
  public static void folder(Path from, Path to) throws IOException {
    Path real = from.toRealPath();
    try (Stream<Path> found = Files.walk(real)) {
      for (Path path : found.toList()) {
        Path copy = to.resolve(real.relativize(path).toString());
        if (Files.isRegularFile(path)) {
          file(path, copy);
        }
      }
    }
  }

  private static void makeFolder(Path folder) throws IOException {
    if (Files.isDirectory(folder)) {
      return;
    }
    Path above = folder.getParent();
    if (above != null) {
      makeFolder(above);
    }
    Files.createDirectory(folder);
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxr-xr-x"));
  }
}
