package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Which user has which role. Root and the daemon's own user are administrators; the file `roles`
/// of the state directory gives roles to others, one line each:
///
/// ```
/// # role  kind   name or number
/// viewer   user  alice
/// operator group hv-operators
/// admin    user  1001
/// ```
///
/// It is read once, when the daemon starts. One fault in it keeps the daemon from starting: half a
/// list of rights is none. A name that nobody has is no fault, and gives nobody a right: users come
/// and go, and a directory of users may not answer yet.
///
/// @param users by their number
/// @param groups by their number
record Roles(Map<Integer, Role> users, Map<Integer, Role> groups) {
  private static final Logger LOG = LoggerFactory.getLogger(Roles.class);
  private static final String FILE = "roles";
  private static final long MAX_BYTES = 64 << 10;
  private static final int MAX_LINES = 1000;
  private static final int OTHERS_WRITE = 022;
  private static final Pattern LINE =
      Pattern.compile(
          "(viewer|operator|admin)\\s+(user|group)\\s+([A-Za-z0-9_][A-Za-z0-9_.@-]{0,63})");
  private static final Pattern NUMBER = Pattern.compile("[0-9]{1,10}");
  private static final long LOOK_UP_SECONDS = 10;

  Roles {
    users = Map.copyOf(users);
    groups = Map.copyOf(groups);
  }

  /// Reads the file of the directory `state`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] with all faults
  static Roles read(Path state) {
    Path file = state.resolve(FILE);
    if (!Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
      return new Roles(Map.of(), Map.of());
    }
    try {
      requireOurs(file);
      return parse(file, Files.readString(file));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Whoever may write the file may do everything.
  private static void requireOurs(Path file) throws IOException {
    int owner = (int) Files.getAttribute(file, "unix:uid", LinkOption.NOFOLLOW_LINKS);
    int mode = (int) Files.getAttribute(file, "unix:mode", LinkOption.NOFOLLOW_LINKS);
    if (!Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)
        || (mode & OTHERS_WRITE) != 0
        || (owner != 0 && owner != Host.effectiveUid())) {
      throw Problem.DAEMON_STATE.because(
          file + " is not a file that only root or the daemon's user can write.");
    }
    if (Files.size(file) > MAX_BYTES) {
      throw Problem.DAEMON_STATE.because(file + " has more than 64 KiB.");
    }
  }

  private static Roles parse(Path file, String text) {
    Map<Integer, Role> users = new HashMap<>();
    Map<Integer, Role> groups = new HashMap<>();
    List<String> faults = new ArrayList<>();
    List<String> lines = text.lines().toList();
    if (lines.size() > MAX_LINES) {
      throw Problem.DAEMON_STATE.because(file + " has more than " + MAX_LINES + " lines.");
    }
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i).replaceFirst("#.*", "").strip();
      if (!line.isEmpty()) {
        int number = i + 1;
        fault(line, users, groups).ifPresent(fault -> faults.add("line " + number + ": " + fault));
      }
    }
    if (!faults.isEmpty()) {
      throw Problem.DAEMON_STATE.because(file + ": " + String.join("; ", faults) + ".");
    }
    return new Roles(users, groups);
  }

  private static Optional<String> fault(
      String line, Map<Integer, Role> users, Map<Integer, Role> groups) {
    Matcher words = LINE.matcher(line);
    if (!words.matches()) {
      return Optional.of("not `viewer|operator|admin user|group NAME`");
    }
    boolean user = words.group(2).equals("user");
    String name = words.group(3);
    Optional<Integer> number = number(user ? "passwd" : "group", name);
    if (number.isEmpty() && NUMBER.matcher(name).matches()) {
      return Optional.of(name + " is not a number of a " + words.group(2));
    }
    if (number.isEmpty()) {
      LOG.warn("There is no {} {}, so that nobody has its role.", words.group(2), name);
      return Optional.empty();
    }
    Role role = Role.labelled(words.group(1)).orElseThrow();
    return (user ? users : groups).putIfAbsent(number.get(), role) == null
        ? Optional.empty()
        : Optional.of(words.group(2) + " " + name + " already has a role");
  }

  /// Asks the C library's own tool, which knows every source of users that this host has.
  private static Optional<Integer> number(String database, String name) {
    if (NUMBER.matcher(name).matches()) {
      long number = Long.parseLong(name);
      return number < 0xffff_ffffL ? Optional.of((int) number) : Optional.empty();
    }
    return entry(database, name)
        .filter(entry -> entry.length > 2)
        .map(entry -> Integer.parseUnsignedInt(entry[2]));
  }

  /// The name of a user for people, or its number.
  static String userName(int uid) {
    String number = Integer.toUnsignedString(uid);
    return entry("passwd", number).map(entry -> entry[0]).orElse(number);
  }

  private static Optional<String[]> entry(String database, String key) {
    try {
      Process process =
          new ProcessBuilder("/usr/bin/getent", database, key)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      // A directory that does not answer would keep it for ever. Its output stays to be read.
      var _ =
          process
              .onExit()
              .completeOnTimeout(process, LOOK_UP_SECONDS, TimeUnit.SECONDS)
              .thenApply(late -> late.toHandle().destroyForcibly());
      try {
        String line = new String(process.getInputStream().readNBytes(4096), StandardCharsets.UTF_8);
        return line.isBlank() ? Optional.empty() : Optional.of(line.strip().split(":"));
      } finally {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  /// Whether anyone but root and the daemon's user has a role, so that the socket must be open.
  boolean nameOthers() {
    return !users.isEmpty() || !groups.isEmpty();
  }

  /// The highest role that a user has by itself or by any of its groups.
  Optional<Role> of(int uid, int gid, List<Integer> supplementary) {
    if (uid == 0 || uid == Host.effectiveUid()) {
      return Optional.of(Role.ADMIN);
    }
    return Stream.concat(
            Stream.of(Optional.ofNullable(users.get(uid))),
            Stream.concat(Stream.of(gid), supplementary.stream())
                .map(group -> Optional.ofNullable(groups.get(group))))
        .flatMap(Optional::stream)
        .max(Role::compareTo);
  }
}
