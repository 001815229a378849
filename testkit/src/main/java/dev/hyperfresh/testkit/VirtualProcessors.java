package dev.hyperfresh.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// What the host's scheduler knows of the threads of a QEMU that are a guest's processors: they
/// work, or they do not, whatever the QEMU says of itself.
final class VirtualProcessors {
  private VirtualProcessors() {}

  /// How long the processors of process `pid` have been on a core since it started, nanoseconds; 0
  /// when it is gone.
  static long busyNanos(int pid) {
    try (Stream<Path> threads = Files.list(Path.of("/proc", Integer.toString(pid), "task"))) {
      return threads.filter(VirtualProcessors::isOne).mapToLong(VirtualProcessors::onCore).sum();
    } catch (IOException | UncheckedIOException e) {
      return 0;
    }
  }

  /// The names of all threads of process `pid` that have a real-time priority.
  static List<String> realTimeThreads(int pid) {
    try (Stream<Path> threads = Files.list(Path.of("/proc", Integer.toString(pid), "task"))) {
      return threads
          .filter(VirtualProcessors::isRealTime)
          .map(thread -> read(thread.resolve("comm")).strip())
          .sorted()
          .toList();
    } catch (IOException | UncheckedIOException e) {
      return List.of();
    }
  }

  /// Field 41 of proc_pid_stat(5) is the scheduling policy, 0 for an ordinary one.
  private static boolean isRealTime(Path thread) {
    String stat = read(thread.resolve("stat"));
    String[] fields = stat.substring(stat.lastIndexOf(')') + 1).strip().split(" ");
    return fields.length > 41 - 3 && !fields[41 - 3].equals("0");
  }

  /// QEMU calls them `CPU 0/TCG` or `CPU 0/KVM`.
  private static boolean isOne(Path thread) {
    return read(thread.resolve("comm")).startsWith("CPU ");
  }

  /// The first field of the thread's schedstat.
  private static long onCore(Path thread) {
    String schedstat = read(thread.resolve("schedstat"));
    return schedstat.isEmpty() ? 0 : Long.parseLong(schedstat.split(" ")[0]);
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return "";
    }
  }
}
