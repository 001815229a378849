package dev.hyperfresh.linux;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/// Starts programs with the rights of a user that owns nothing, by util-linux's `setpriv`, which
/// becomes the program and so keeps the number of the process.
public final class Unprivileged {
  private static final Path SETPRIV = Path.of("/usr/bin/setpriv");
  private static final Path ENV = Path.of("/usr/bin/env");

  // linux/stat.h: what others may do.
  private static final int OTHERS_READ = 04;
  private static final int OTHERS_ENTER = 01;

  private Unprivileged() {}

  /// Why this process cannot give away rights; empty when it can.
  public static Optional<String> obstacle() {
    if (Host.effectiveUid() != 0) {
      return Optional.of("the daemon is not root");
    }
    return Files.isExecutable(SETPRIV)
        ? Optional.empty()
        : Optional.of("setpriv of util-linux is not installed");
  }

  /// The command that runs `command` as user and group `id`, without a capability, and unable to
  /// get any back (`no_new_privs`, empty bounding set).
  ///
  /// @param environment variables that only `command` is to see, not what runs with more rights
  ///   before it
  /// @param group one more group, such as that of a device it needs
  public static List<String> command(
      List<String> command, Map<String, String> environment, int id, OptionalInt group) {
    List<String> line = new ArrayList<>();
    line.add(SETPRIV.toString());
    line.addAll(List.of("--reuid", Integer.toString(id), "--regid", Integer.toString(id)));
    if (group.isPresent()) {
      line.addAll(List.of("--groups", Integer.toString(group.getAsInt())));
    } else {
      line.add("--clear-groups");
    }
    line.addAll(
        List.of(
            "--no-new-privs",
            "--inh-caps=-all",
            "--ambient-caps=-all",
            "--bounding-set=-all",
            "--"));
    if (!environment.isEmpty()) {
      line.add(ENV.toString());
      environment.forEach((name, value) -> line.add(name + "=" + value));
    }
    line.addAll(command);
    return line;
  }

  /// The first folder on the way to `path` that a user who owns nothing may not enter, or `path`
  /// itself when it may not be read. Looks at modes alone: an access control list may allow more.
  public static Optional<Path> closedOn(Path path) {
    try {
      Optional<Path> named = closedOn(path.toAbsolutePath(), OTHERS_READ);
      return named.isPresent() ? named : closedOn(path.toRealPath(), OTHERS_READ);
    } catch (IOException e) {
      return Optional.of(path);
    }
  }

  private static Optional<Path> closedOn(Path path, int wanted) throws IOException {
    Path above = path.getParent();
    if (above != null) {
      Optional<Path> closed = closedOn(above, OTHERS_ENTER);
      if (closed.isPresent()) {
        return closed;
      }
    }
    int mode = (int) Files.getAttribute(path, "unix:mode");
    return (mode & wanted) == wanted ? Optional.empty() : Optional.of(path);
  }
}
