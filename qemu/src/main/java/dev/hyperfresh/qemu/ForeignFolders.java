package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.UnixSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// Where the files of a foreign command line are.
///
/// @param working the process's working folder: relative paths start there
/// @param files the guest's folder, for copies and logs
/// @param logs what the process was passed open to append to, by `/dev/fdset/` and the number of
///   the set
/// @param sockets at which it listens, by its descriptors; empty when it was not looked at
record ForeignFolders(
    Path working, Path files, Map<String, Path> logs, Optional<Map<Integer, Path>> sockets) {
  private static final String SET = "/dev/fdset/";

  /// Where each process finds something else, its own descriptors first of all.
  private static final List<String> OWN =
      List.of("/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc");

  ForeignFolders {
    logs = Map.copyOf(logs);
    sockets = sockets.map(Map::copyOf);
  }

  /// Of a process whose sockets were not looked at.
  ForeignFolders(Path working, Path files, Map<String, Path> logs) {
    this(working, files, logs, Optional.empty());
  }

  /// How a command line names a set of descriptors as a file.
  static String set(String number) {
    return SET + number;
  }

  /// Whether a path is no file but a descriptor of the process.
  static boolean isSet(String text) {
    return text.startsWith(SET);
  }

  /// The log of a console that has none of its own.
  Path consoleLog() {
    return files.resolve("console.log");
  }

  /// What the process means by a path; empty when it is none, or means something else to another
  /// process.
  Optional<Path> path(String text) {
    if (text.isEmpty()) {
      return Optional.empty();
    }
    try {
      Path path = working.resolve(text).normalize();
      return OWN.stream().anyMatch(path::startsWith) ? Optional.empty() : Optional.of(path);
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /// As [#path], of a unix socket; empty also when it is too long for one.
  Optional<Path> socket(String text) {
    return path(text)
        .filter(
            path -> path.toString().getBytes(StandardCharsets.UTF_8).length <= UnixSocket.MAX_PATH);
  }

  /// The file of a unix socket at which it listens by a descriptor.
  Optional<Path> socket(int descriptor) {
    return sockets.flatMap(known -> Optional.ofNullable(known.get(descriptor)));
  }

  /// As [#path], of a file that is appended to; empty also when it is a descriptor behind which no
  /// such file was found.
  Optional<Path> log(String text) {
    return isSet(text) ? Optional.ofNullable(logs.get(text)) : path(text);
  }
}
