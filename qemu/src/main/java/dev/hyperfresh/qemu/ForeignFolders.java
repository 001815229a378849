package dev.hyperfresh.qemu;

import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Optional;

/// Where the files of a foreign command line are.
///
/// @param working the process's working folder: relative paths start there
/// @param files the guest's folder, for copies and logs
record ForeignFolders(Path working, Path files) {
  /// The log of a console that has none of its own.
  Path consoleLog() {
    return files.resolve("console.log");
  }

  /// What the process means by a path; empty when it is none.
  Optional<Path> path(String text) {
    try {
      return text.isEmpty() ? Optional.empty() : Optional.of(working.resolve(text).normalize());
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }
}
