package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/// A control group: a bound on the memory and the tasks of the processes in it. One folder where
/// the host has version 2 with the controllers `memory` and `pids`, and one in each of the two
/// hierarchies of version 1 otherwise; see cgroups(7).
///
/// All methods may be called by any thread. What the host refuses is an [UncheckedIOException].
public final class Cgroup {
  /// Where the host's hierarchies are mounted.
  public static final Path MOUNTED = Path.of("/sys/fs/cgroup");

  /// The part of a unified hierarchy that systemd leaves to HyperFresh, where the package is
  /// installed: a unit with `Delegate=`. Everything above it is systemd's.
  public static final Path DELEGATED =
      MOUNTED.resolve("hyperfresh.slice").resolve("hyperfresh-guests.service");

  private static final String CONTROLLERS = "cgroup.controllers";
  private static final String PROCESSES = "cgroup.procs";
  private static final int REMOVE_LOOKS = 100;
  private static final long LOOK_NANOS = 10_000_000;
  private static final List<String> NEEDED = List.of("memory", "pids");

  private final Path name;
  private final List<Path> hierarchies;
  private final boolean unified;

  private Cgroup(Path name, List<Path> hierarchies, boolean unified) {
    this.name = name;
    this.hierarchies = hierarchies;
    this.unified = unified;
  }

  /// The group called `name` on a host whose hierarchies are mounted at `mounted`, or below a group
  /// of version 2 that is left to this program. Changes nothing, and nothing above `mounted` is
  /// ever changed.
  ///
  /// @param name relative, such as `hyperfresh/web1`
  /// @return empty when the host has no hierarchy with both controllers
  public static Optional<Cgroup> at(Path mounted, Path name) {
    if (name.isAbsolute() || !name.normalize().equals(name) || name.startsWith("..")) {
      throw new IllegalArgumentException("not the name of a control group: " + name);
    }
    for (Path root : List.of(mounted, mounted.resolve("unified"))) {
      if (controllers(root).containsAll(NEEDED)) {
        return Optional.of(new Cgroup(name, List.of(root), true));
      }
    }
    List<Path> separate = NEEDED.stream().map(mounted::resolve).toList();
    return separate.stream().allMatch(root -> Files.exists(root.resolve(PROCESSES)))
        ? Optional.of(new Cgroup(name, separate, false))
        : Optional.empty();
  }

  private static List<String> controllers(Path root) {
    try {
      return Arrays.asList(Files.readString(root.resolve(CONTROLLERS)).strip().split(" "));
    } catch (IOException absent) {
      return List.of();
    }
  }

  /// Whether the group is there.
  public boolean exists() {
    return hierarchies.stream().anyMatch(root -> Files.isDirectory(root.resolve(name)));
  }

  /// The name, such as `hyperfresh/web1`.
  public Path name() {
    return name;
  }

  /// Makes the group, or takes one of that name that is left over, and sets its bounds.
  ///
  /// @param memoryBytes all memory that is charged to its processes, page cache included
  /// @param tasks processes and threads
  public void create(long memoryBytes, int tasks) {
    for (Path root : hierarchies) {
      folders(root);
    }
    write(
        hierarchies.getFirst(),
        unified ? "memory.max" : "memory.limit_in_bytes",
        Long.toString(memoryBytes));
    write(hierarchies.getLast(), "pids.max", Integer.toString(tasks));
  }

  private void folders(Path root) {
    Path folder = root;
    try {
      for (Path part : name) {
        if (unified) {
          Files.writeString(folder.resolve("cgroup.subtree_control"), "+memory +pids");
        }
        folder = folder.resolve(part);
        if (!Files.isDirectory(folder)) {
          Files.createDirectory(folder);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("control group " + folder + ": " + e.getMessage(), e);
    }
  }

  private void write(Path root, String file, String value) {
    Path path = root.resolve(name).resolve(file);
    try {
      Files.writeString(path, value, StandardCharsets.US_ASCII);
    } catch (IOException e) {
      throw new UncheckedIOException(path + " does not take " + value + ": " + e.getMessage(), e);
    }
  }

  /// Moves a process with all its threads into the group. What it has used before stays charged to
  /// where it was.
  public void add(int pid) {
    hierarchies.forEach(root -> write(root, PROCESSES, Integer.toString(pid)));
  }

  /// Whether a process is in the group, in all hierarchies.
  public boolean holds(int pid) {
    try {
      return hierarchies.stream()
          .allMatch(root ->
              read(root.resolve(name).resolve(PROCESSES))
                  .lines()
                  .anyMatch(line -> line.equals(Integer.toString(pid))));
    } catch (UncheckedIOException noSuchGroup) {
      return false;
    }
  }

  /// The processes in the group; none where there is no such group.
  public List<Integer> processes() {
    try {
      return read(hierarchies.getFirst().resolve(name).resolve(PROCESSES))
          .lines()
          .map(Integer::valueOf)
          .toList();
    } catch (UncheckedIOException noSuchGroup) {
      return List.of();
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Removes the group, and waits a second for processes that have just ended: the kernel takes
  /// them out a moment later, and version 1 has no event for it. Does nothing when there is none.
  ///
  /// @throws UncheckedIOException also when a process is still in it
  public void remove() {
    for (Path root : hierarchies) {
      Path folder = root.resolve(name);
      for (int look = 1; !removed(folder, look == REMOVE_LOOKS); look++) {
        LockSupport.parkNanos(LOOK_NANOS);
      }
    }
  }

  private static boolean removed(Path folder, boolean last) {
    try {
      Files.deleteIfExists(folder);
      return true;
    } catch (IOException e) {
      if (last) {
        throw new UncheckedIOException(folder + " cannot be removed: " + e.getMessage(), e);
      }
      return false;
    }
  }

  @Override
  public String toString() {
    return name.toString();
  }
}
