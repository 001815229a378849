package dev.hyperfresh.release;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/// A Debian in a folder, of packages that were only unpacked, in which something is compiled: it
/// takes compilers that this machine does not have, and leaves nothing on it. What runs there sees
/// no other file of the machine, no network and no other process. It needs no rights but that of
/// making a user namespace.
///
/// @param work a folder of its own, with the Debian in its folder `root`
public record BuildRoom(Path work) {
  /// The room that is entered.
  private static final ImageSources ENTRANCE = new ImageSources(List.of("/room/enter.sh"));

  private static final List<String> NAMESPACES =
      List.of(
          "unshare",
          "--user",
          "--map-root-user",
          "--mount",
          "--net",
          "--ipc",
          "--uts",
          "--pid",
          "--fork",
          "--kill-child");

  private static final Pattern ERROR = Pattern.compile("\\b(error|ERROR|FAILED)\\b");
  private static final int MOST_ERRORS = 3;

  /// The Debian's folder.
  public Path root() {
    return work.resolve("root");
  }

  /// Runs a program in it to its end, behind the guests.
  ///
  /// @param command with the program's path in the room
  /// @param log gets what it said, bounded
  /// @param heard gets each line
  /// @throws IOException when it fails, with what it said of that
  /// @throws DebianPackages.PackagesException when it does not end within `limit` and was killed
  public void run(List<String> command, Path log, Duration limit, Consumer<String> heard)
      throws IOException {
    ENTRANCE.copyTo(work);
    Files.createDirectories(root().resolve("mnt"));
    List<String> all = new ArrayList<>(NAMESPACES);
    all.addAll(
        List.of(
            "sh",
            work.resolve("enter.sh").toString(),
            root().toString(),
            "/usr/bin/env",
            "-i",
            "PATH=/usr/bin:/usr/sbin",
            "LC_ALL=C"));
    all.addAll(command);
    AptRun run = AptRun.of(all, work, limit, heard);
    Files.writeString(log, run.output());
    if (run.failed()) {
      throw new IOException(told(run.output()));
    }
  }

  /// What a build says of its failure: its first errors, or its last line.
  static String told(String output) {
    List<String> errors =
        output
            .lines()
            .filter(line -> ERROR.matcher(line).find())
            .map(String::strip)
            .limit(MOST_ERRORS)
            .toList();
    return errors.isEmpty()
        ? output.lines().filter(line -> !line.isBlank()).reduce("no output", (a, b) -> b)
        : String.join("; ", errors);
  }
}
