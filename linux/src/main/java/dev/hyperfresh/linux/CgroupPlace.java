package dev.hyperfresh.linux;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/// The control groups that a process is in, one in each hierarchy of its host, which somebody else
/// has made and bounded: another process can be put into the same ones. See cgroups(7). Immutable.
///
/// @param folders of the groups, as far as this host shows them
public record CgroupPlace(List<Path> folders) {
  private static final int FILE_BYTES = 1 << 16;
  private static final String PROCESSES = "cgroup.procs";
  private static final String NAMED = "name=";

  /// What has to be left of a bound before one more hypervisor may count to it: what it needs
  /// beside the guest's memory, and its threads.
  private static final List<Bound> BOUNDS =
      List.of(
          new Bound("memory.max", "memory.current", 1L << 30),
          new Bound("memory.limit_in_bytes", "memory.usage_in_bytes", 1L << 30),
          new Bound("pids.max", "pids.current", 128));

  private record Bound(String most, String now, long needed) {
    private static final Set<String> CACHE = Set.of("total_inactive_file", "total_active_file");
    private static final Set<String> CACHE_OF_GROUP = Set.of("inactive_file", "active_file");

    /// What the kernel takes back before it ends a process: pages of files, which count, too.
    /// Version 1 tells those of the groups below apart.
    long spare(Path group) {
      if (!now.startsWith("memory")) {
        return 0;
      }
      String stat = text(group.resolve("memory.stat"));
      Set<String> wanted = stat.contains("total_") ? CACHE : CACHE_OF_GROUP;
      return stat.lines()
          .map(line -> line.split(" ", 2))
          .filter(pair -> pair.length == 2 && wanted.contains(pair[0]))
          .mapToLong(pair -> Long.parseLong(pair[1].strip()))
          .sum();
    }
  }

  public CgroupPlace {
    folders = List.copyOf(folders);
  }

  /// Those of a process.
  ///
  /// @param mounted where the hierarchies are
  /// @throws IOException when there is no such process
  public static CgroupPlace of(ProcFs proc, Path mounted, int pid) throws IOException {
    byte[] text = BoundedFile.read(proc.of(pid, "cgroup"), FILE_BYTES);
    List<Path> folders = new ArrayList<>();
    for (String line : new String(text, StandardCharsets.UTF_8).lines().toList()) {
      // proc_pid_cgroup(5): number, controllers, path; version 2 has no controllers.
      String[] parts = line.split(":", 3);
      if (parts.length == 3) {
        folder(mounted, parts[1], parts[2]).ifPresent(folders::add);
      }
    }
    return new CgroupPlace(folders);
  }

  private static Optional<Path> folder(Path mounted, String controllers, String path) {
    Path unified =
        Files.exists(mounted.resolve("cgroup.controllers")) ? mounted : mounted.resolve("unified");
    try {
      Path root =
          controllers.isEmpty()
              ? unified
              : mounted.resolve(
                  controllers.startsWith(NAMED)
                      ? controllers.substring(NAMED.length())
                      : controllers);
      Path folder = root.resolve(path.replaceFirst("^/+", "")).normalize();
      // In another cgroup namespace, paths begin with dots.
      return folder.startsWith(root) && Files.exists(folder.resolve(PROCESSES))
          ? Optional.of(ofDomain(folder, root))
          : Optional.empty();
    } catch (InvalidPathException e) {
      return Optional.empty();
    }
  }

  /// A group for threads takes no process from elsewhere; the one that it belongs to does.
  private static Path ofDomain(Path folder, Path root) {
    Path at = folder;
    while (!at.equals(root) && text(at.resolve("cgroup.type")).strip().equals("threaded")) {
      at = at.resolveSibling("");
    }
    return at;
  }

  /// Puts a process with all its threads into the groups, unless one of them is gone, or has so
  /// little left that the processes in it would have to make room.
  ///
  /// @return why it is not in all of them, as half a sentence
  public Optional<String> take(int pid) {
    Optional<String> narrow = narrow();
    if (narrow.isPresent()) {
      return narrow;
    }
    List<String> refused = new ArrayList<>();
    for (Path folder : folders) {
      try {
        Files.writeString(folder.resolve(PROCESSES), Integer.toString(pid));
      } catch (IOException e) {
        refused.add(folder + " takes no process: " + e.getMessage());
      }
    }
    return refused.stream().findFirst();
  }

  /// Which of the groups is gone, or has so little left and of what; empty when each has room for
  /// one more.
  public Optional<String> narrow() {
    return gone()
        .map(folder -> folder + " is gone; make it again")
        .or(() -> folders.stream().flatMap(at -> narrow(at).stream()).findFirst());
  }

  /// One of the groups that is not there any more, as that of a systemd scope whose last process
  /// has ended.
  public Optional<Path> gone() {
    return folders.stream().filter(at -> !Files.exists(at.resolve(PROCESSES))).findFirst();
  }

  /// Bounds of the groups around it count, too.
  private static Optional<String> narrow(Path folder) {
    for (Path at = folder; at != null && Files.exists(at.resolve(PROCESSES)); at = at.getParent()) {
      for (Bound bound : BOUNDS) {
        OptionalLong most = number(at.resolve(bound.most()));
        OptionalLong now = number(at.resolve(bound.now()));
        if (most.isPresent()
            && now.isPresent()
            && most.getAsLong() - now.getAsLong() + bound.spare(at) < bound.needed()) {
          return Optional.of(
              "%s has no room for one more (%s is %d); make room there, or raise its bound"
                  .formatted(at, bound.most(), most.getAsLong()));
        }
      }
    }
    return Optional.empty();
  }

  /// Empty where there is no such bound, or none that is a number.
  private static OptionalLong number(Path file) {
    try {
      return OptionalLong.of(Long.parseLong(text(file).strip()));
    } catch (NumberFormatException unbounded) {
      return OptionalLong.empty();
    }
  }

  private static String text(Path file) {
    try {
      return new String(BoundedFile.read(file, FILE_BYTES), StandardCharsets.UTF_8);
    } catch (IOException absent) {
      return "";
    }
  }

  /// Whether a process is in all the groups.
  public boolean holds(int pid) {
    return folders.stream()
        .allMatch(folder ->
            text(folder.resolve(PROCESSES))
                .lines()
                .anyMatch(line -> line.equals(Integer.toString(pid))));
  }
}
