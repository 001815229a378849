package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.CpuPriority;
import dev.hyperfresh.linux.ProcessThreads;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
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

  /// The names of all threads of process `pid` that have another policy or nice value than what
  /// this process starts: a real-time priority, or a place behind others.
  static List<String> extraordinaryThreads(int pid) {
    int self = (int) ProcessHandle.current().pid();
    CpuPriority ours = CpuPriority.of(self).orElseThrow();
    return Arrays.stream(ProcessThreads.of(pid))
        .filter(thread ->
            CpuPriority.ofThread(pid, thread)
                .filter(now -> now.policy() != ours.policy() || now.nice() != ours.nice())
                .isPresent())
        .mapToObj(thread -> ProcessThreads.name(pid, thread))
        .sorted()
        .toList();
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
