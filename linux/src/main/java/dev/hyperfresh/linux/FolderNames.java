package dev.hyperfresh.linux;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Objects;

/// The names of the files in a folder. That a file is on the disk does not say that its name is: a
/// host that loses its power may have the file under its old name, or under none.
public final class FolderNames {
  private FolderNames() {}

  /// Returns when the name of `file` is on the disk as it is now; that the file is there is not
  /// asked.
  public static void force(Path file) throws IOException {
    Path folder = Objects.requireNonNull(file.toAbsolutePath().getParent());
    try (FileChannel names = FileChannel.open(folder, StandardOpenOption.READ)) {
      names.force(true);
    }
  }
}
