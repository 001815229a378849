package dev.hyperfresh.host;

import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/// A process and the program that it runs, beside the file that has the program's path now.
/// Immutable. Its arguments and its path were chosen by whoever started it and may hold anything.
///
/// @param uid the user whose rights it has; -1 when it ended meanwhile
/// @param program the path from which it was started, as the process sees it
/// @param arguments its command line, the program's name first; of a long one the first
///   [RunningPrograms#ARGUMENT_BYTES]
/// @param whole whether these are all
/// @param group its control groups as `cgroup` of proc(5) has them, cut to 4096 characters
/// @param running the file that it runs; empty when it cannot be read
/// @param installed the file that is at that path now; empty when there is none, or it cannot be
///   read
/// @param standing what the two make of it
public record RunningProgram(
    int pid,
    int uid,
    Path program,
    List<String> arguments,
    boolean whole,
    String group,
    Instant startedAt,
    Optional<ProgramFile> running,
    Optional<ProgramFile> installed,
    Standing standing) {

  /// How the program that runs compares with what is installed.
  public enum Standing {
    /// It is the file that is installed, or a copy of the same build.
    CURRENT,
    /// Another file is installed.
    OUTDATED,
    /// Nothing is installed at its path any more.
    REMOVED,
    /// One of the two cannot be read.
    UNKNOWN;

    /// In lower case, as tables and JSON show it.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  public RunningProgram {
    arguments = List.copyOf(arguments);
  }

  /// Whether the file that it runs is not the one at its path, whatever build that is.
  public boolean isReplaced() {
    return running.isPresent()
        && installed.isPresent()
        && !running.get().key().equals(installed.get().key());
  }
}
