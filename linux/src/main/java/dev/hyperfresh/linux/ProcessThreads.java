package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/// The threads of a process as proc(5) shows them.
public final class ProcessThreads {
  private ProcessThreads() {}

  /// Whether no thread of process `pid` can run: each is stopped or dead. `SIGSTOP` reaches the
  /// threads one after the other, so that the first one's state does not tell of the rest.
  public static boolean allStopped(int pid) {
    Path tasks = Path.of("/proc", Integer.toString(pid), "task");
    try (Stream<Path> listed = Files.list(tasks)) {
      List<Path> threads = listed.toList();
      return threads.stream().allMatch(ProcessThreads::isStopped);
    } catch (IOException | UncheckedIOException e) {
      return !Files.exists(tasks);
    }
  }

  private static boolean isStopped(Path thread) {
    try {
      String stat = Files.readString(thread.resolve("stat"), StandardCharsets.ISO_8859_1);
      // The name in parentheses may itself hold parentheses.
      return "TtZX".indexOf(stat.charAt(stat.lastIndexOf(')') + 2)) >= 0;
    } catch (IOException e) {
      return !Files.exists(thread);
    }
  }
}
