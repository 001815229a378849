package dev.hyperfresh.linux;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// With which rights a process runs, as proc(5) shows them, so that another one can be started with
/// the same ones: see [Unprivileged]. Immutable.
///
/// @param groups beside `gid`
/// @param permitted the capabilities that it has or can take, a bit each
/// @param inheritable those that it leaves to the programs that it becomes, if they ask
/// @param ambient those that it leaves to the programs that it becomes
/// @param bounding those that no program that it becomes can have more of
/// @param limits what it may use, by the names of util-linux's `prlimit`, as `soft:hard`
/// @param oomScore how soon it is killed when the host has no memory left, -1000 to 1000
/// @param label what a security module calls it
public record ProcessRights(
    int uid,
    int gid,
    List<Integer> groups,
    long permitted,
    long inheritable,
    long ambient,
    long bounding,
    Map<String, String> limits,
    int oomScore,
    Optional<Label> label) {

  private static final int FILE_BYTES = 1 << 20;
  private static final int MOST_GROUPS = 65_536;
  private static final int HEX = 16;
  private static final String NONE = "-";

  private static final Map<String, String> LIMITS =
      Map.of(
          "Max core file size", "core",
          "Max open files", "nofile",
          "Max locked memory", "memlock");

  private static final Pattern LIMIT =
      Pattern.compile("(.{25}) *([0-9]+|unlimited) +([0-9]+|unlimited) .*");

  /// What a security module calls a process.
  ///
  /// @param module `apparmor` or `selinux`
  public record Label(String module, String name) {
    static final String APPARMOR = "apparmor";
    static final String SELINUX = "selinux";

    private static final Pattern CONFINED = Pattern.compile("(\\S{1,1000}) \\(([a-z]{1,20})\\)");
    private static final Pattern CONTEXT = Pattern.compile("[^\\s:]+:[^\\s:]+:[^\\s:]+(:\\S+)?");

    /// What stands there of a process that no module confines; `kernel` is SELinux without a
    /// policy.
    private static final Set<String> NONE = Set.of("", "unconfined", "kernel");

    /// Reads what stands in `attr/current` of a process.
    ///
    /// @return empty where no module knows it, or it is not confined
    /// @throws IOException when it is something else: a process that is confined in a way that is
    ///   not known here is not one without a label
    static Optional<Label> parse(String text) throws IOException {
      String current = text.replace("\0", "").strip();
      if (NONE.contains(current)) {
        return Optional.empty();
      }
      Matcher confined = CONFINED.matcher(current);
      if (confined.matches()) {
        return Optional.of(new Label(APPARMOR, confined.group(1)));
      }
      if (CONTEXT.matcher(current).matches()) {
        return Optional.of(new Label(SELINUX, current));
      }
      throw new IOException("its security label '" + current + "' cannot be understood");
    }
  }

  public ProcessRights {
    groups = List.copyOf(groups);
    limits = Map.copyOf(limits);
  }

  /// Those of a process.
  ///
  /// @throws IOException when there is none, it may not be looked at, it has rights of several
  ///   users at once, or a label that is not understood
  public static ProcessRights of(ProcFs proc, int pid) throws IOException {
    Map<String, String> status = new HashMap<>();
    text(proc, pid, "status")
        .lines()
        .map(line -> line.split(":", 2))
        .filter(parts -> parts.length == 2)
        .forEach(parts -> status.putIfAbsent(parts[0], parts[1].strip()));
    try {
      return new ProcessRights(
          one(status, "Uid"),
          one(status, "Gid"),
          numbers(field(status, "Groups")),
          Long.parseUnsignedLong(field(status, "CapPrm"), HEX),
          Long.parseUnsignedLong(field(status, "CapInh"), HEX),
          Long.parseUnsignedLong(field(status, "CapAmb"), HEX),
          Long.parseUnsignedLong(field(status, "CapBnd"), HEX),
          limits(text(proc, pid, "limits")),
          Integer.parseInt(text(proc, pid, "oom_score_adj").strip()),
          label(proc, pid));
    } catch (NumberFormatException e) {
      throw new IOException("its status cannot be understood: " + e.getMessage(), e);
    }
  }

  private static String text(ProcFs proc, int pid, String entry) throws IOException {
    return new String(BoundedFile.read(proc.of(pid, entry), FILE_BYTES), StandardCharsets.UTF_8);
  }

  private static String field(Map<String, String> status, String name) throws IOException {
    return Optional.ofNullable(status.get(name))
        .orElseThrow(() -> new IOException("its status has no line " + name));
  }

  /// Real, effective, saved and that of files.
  private static int one(Map<String, String> status, String name) throws IOException {
    List<Integer> four = numbers(field(status, name));
    if (four.size() != 4 || four.stream().distinct().count() != 1) {
      throw new IOException("it has the rights of several users or groups at once");
    }
    return four.getFirst();
  }

  private static List<Integer> numbers(String text) {
    return text.isBlank()
        ? List.of()
        : Arrays.stream(text.strip().split("\\s+"))
            .limit(MOST_GROUPS)
            .map(Integer::parseUnsignedInt)
            .toList();
  }

  private static Map<String, String> limits(String text) {
    Map<String, String> limits = new HashMap<>();
    text.lines()
        .map(LIMIT::matcher)
        .filter(Matcher::matches)
        .filter(line -> LIMITS.containsKey(line.group(1).strip()))
        .forEach(line ->
            limits.put(
                LIMITS.getOrDefault(line.group(1).strip(), ""),
                line.group(2) + ":" + line.group(3)));
    return limits;
  }

  /// Where both modules are there, AppArmor has a file of its own.
  private static Optional<Label> label(ProcFs proc, int pid) throws IOException {
    Optional<byte[]> label =
        proc.head(pid, "attr/apparmor/current", FILE_BYTES)
            .or(() -> proc.head(pid, "attr/current", FILE_BYTES));
    return label.isPresent()
        ? Label.parse(new String(label.get(), StandardCharsets.UTF_8))
        : Optional.empty();
  }

  /// Whether a process that one with `mine` starts without more ado would be somebody else, or have
  /// more.
  public boolean differFrom(ProcessRights mine) {
    return uid != mine.uid
        || gid != mine.gid
        || (mine.permitted & ~permitted) != 0
        || !label.equals(mine.label);
  }

  /// The same with one more limit.
  ///
  /// @param name as `prlimit` has it, such as `fsize`
  public ProcessRights limited(String name, long most) {
    Map<String, String> more = new HashMap<>(limits);
    more.put(name, most + ":" + most);
    return new ProcessRights(
        uid, gid, groups, permitted, inheritable, ambient, bounding, more, oomScore, label);
  }

  /// The user, for files.
  public FileUser files() {
    return new FileUser(uid, gid, groups);
  }

  /// In one line, for [#parse].
  public String text() {
    return String.join(
        " ",
        Integer.toUnsignedString(uid),
        Integer.toUnsignedString(gid),
        groups.isEmpty()
            ? NONE
            : groups.stream().map(Integer::toUnsignedString).collect(Collectors.joining(",")),
        Long.toHexString(permitted),
        Long.toHexString(inheritable),
        Long.toHexString(ambient),
        Long.toHexString(bounding),
        limits.isEmpty()
            ? NONE
            : new TreeMap<>(limits)
                .entrySet().stream()
                    .map(limit -> limit.getKey() + "=" + limit.getValue())
                    .collect(Collectors.joining(",")),
        Integer.toString(oomScore),
        label.map(name -> name.module() + "=" + name.name()).orElse(NONE));
  }

  /// Reads what [#text] wrote.
  ///
  /// @throws IllegalArgumentException when it is something else
  public static ProcessRights parse(String text) {
    String[] words = text.split(" ", 10);
    if (words.length != 10) {
      throw new IllegalArgumentException("these are no rights of a process: " + text);
    }
    return new ProcessRights(
        Integer.parseUnsignedInt(words[0]),
        Integer.parseUnsignedInt(words[1]),
        words[2].equals(NONE) ? List.of() : numbers(words[2].replace(',', ' ')),
        Long.parseUnsignedLong(words[3], HEX),
        Long.parseUnsignedLong(words[4], HEX),
        Long.parseUnsignedLong(words[5], HEX),
        Long.parseUnsignedLong(words[6], HEX),
        words[7].equals(NONE) ? Map.of() : pairs(words[7]),
        Integer.parseInt(words[8]),
        words[9].equals(NONE) ? Optional.empty() : Optional.of(label(words[9])));
  }

  private static Map<String, String> pairs(String text) {
    return Arrays.stream(text.split(","))
        .map(ProcessRights::pair)
        .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1]));
  }

  private static Label label(String text) {
    String[] pair = pair(text);
    return new Label(pair[0], pair[1]);
  }

  private static String[] pair(String text) {
    String[] pair = text.split("=", 2);
    if (pair.length != 2) {
      throw new IllegalArgumentException("these are no rights of a process: " + text);
    }
    return pair;
  }
}
