package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// Files that QEMU has read once and would read again: copies in the guest's folder take their
/// place.
final class ForeignCopies {
  /// In the guest's folder, for files that are many of a kind.
  private static final String MANY = "read-files";

  private final ForeignFolders folders;
  private final Map<Path, Path> copies = new LinkedHashMap<>();

  ForeignCopies(ForeignFolders folders) {
    this.folders = folders;
  }

  /// Where the copy of a file is to be; empty when its path cannot be understood.
  ///
  /// @param file as the command line names it
  /// @param name of the copy, unless the file has one already
  Optional<Path> of(String file, String name) {
    return folders
        .path(file)
        .map(from -> copies.computeIfAbsent(from, _ -> folders.files().resolve(name)));
  }

  /// As [#of(String, String)], in a folder of its own and with the name that it has, which some of
  /// the guest's tables show.
  Optional<Path> of(String file) {
    String folder = MANY + "/" + copies.size() + "/";
    return folders.path(file).flatMap(path -> of(file, folder + path.getFileName()));
  }

  /// From where to where.
  Map<Path, Path> all() {
    return copies;
  }
}
