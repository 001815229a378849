package dev.hyperfresh.linux;

import dev.hyperfresh.linux.ProcessRights.Label;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.Collectors;

/// Starts programs with the rights of a user that owns nothing, or with those that another process
/// has, by util-linux's `setpriv`, which becomes the program and so keeps the number of the
/// process.
public final class Unprivileged {
  private static final Path SETPRIV = Path.of("/usr/bin/setpriv");
  private static final Path ENV = Path.of("/usr/bin/env");
  private static final Path CHOOM = Path.of("/usr/bin/choom");
  private static final Path PRLIMIT = Path.of("/usr/bin/prlimit");
  private static final String NO_NEW = "--no-new-privs";

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
        List.of(NO_NEW, "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"));
    line.addAll(withEnvironment(environment, command));
    return line;
  }

  private static List<String> withEnvironment(
      Map<String, String> environment, List<String> command) {
    List<String> line = new ArrayList<>();
    if (!environment.isEmpty()) {
      line.add(ENV.toString());
      environment.forEach((name, value) -> line.add(name + "=" + value));
    }
    line.addAll(command);
    return line;
  }

  /// The command that runs `command` with `rights`, and never with more: capabilities that a
  /// process has without leaving them to the programs that it becomes are not among them.
  ///
  /// @param environment as above
  /// @param mine the rights of this process: limits that are the same are left alone
  public static List<String> command(
      List<String> command,
      Map<String, String> environment,
      ProcessRights rights,
      ProcessRights mine) {
    List<String> line = new ArrayList<>();
    if (rights.oomScore() != mine.oomScore()) {
      line.addAll(List.of(CHOOM.toString(), "-n", Integer.toString(rights.oomScore()), "--"));
    }
    if (!rights.limits().equals(mine.limits())) {
      line.add(PRLIMIT.toString());
      new TreeMap<>(rights.limits()).forEach((name, limit) -> line.add("--" + name + "=" + limit));
    }
    line.add(SETPRIV.toString());
    line.addAll(List.of("--reuid", Integer.toUnsignedString(rights.uid())));
    line.addAll(List.of("--regid", Integer.toUnsignedString(rights.gid())));
    if (rights.groups().isEmpty()) {
      line.add("--clear-groups");
    } else {
      line.add("--groups");
      line.add(
          rights.groups().stream().map(Integer::toUnsignedString).collect(Collectors.joining(",")));
    }
    // SELinux may forbid the change of context to a process that has given this up before; QEMU
    // gives it up itself with its sandbox.
    if (rights.label().filter(label -> label.module().equals(Label.SELINUX)).isEmpty()) {
      line.add(NO_NEW);
    }
    // A program of root gets all that the bounding set leaves it.
    long bounding = rights.bounding() & (rights.uid() == 0 ? rights.permitted() : -1);
    line.add("--inh-caps=" + capabilities(rights.inheritable()));
    line.add("--ambient-caps=" + capabilities(rights.ambient()));
    line.add("--bounding-set=" + capabilities(bounding));
    line.add("--");
    line.addAll(withEnvironment(environment, command));
    return line;
  }

  private static String capabilities(long set) {
    return "-all"
        + BitSet.valueOf(new long[] {set}).stream()
            .mapToObj(number -> ",+cap_" + number)
            .collect(Collectors.joining());
  }

  /// The command that runs `program` with the label of `rights`, which the program gets when it is
  /// loaded: what runs before it keeps that of this process.
  public static List<String> labelled(List<String> program, ProcessRights rights) {
    if (rights.label().isEmpty()) {
      return program;
    }
    Label label = rights.label().get();
    String option = label.module().equals(Label.SELINUX) ? "--selinux-label" : "--apparmor-profile";
    List<String> line = new ArrayList<>(List.of(SETPRIV.toString(), option, label.name(), "--"));
    line.addAll(program);
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
