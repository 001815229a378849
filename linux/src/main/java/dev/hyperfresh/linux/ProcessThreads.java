package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;
import java.util.stream.Stream;

/// The threads of a process as proc(5) shows them.
public final class ProcessThreads {
  /// How often threads are looked for at most; one that works is done after two or three times.
  private static final int MOST_LOOKS = 16;

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

  /// The kernel's numbers of the threads that process `pid` has now; none when there is no such
  /// process.
  public static int[] of(int pid) {
    try (Stream<Path> tasks = Files.list(Path.of("/proc", Integer.toString(pid), "task"))) {
      return tasks.mapToInt(task -> Integer.parseInt(String.valueOf(task.getFileName()))).toArray();
    } catch (IOException | UncheckedIOException e) {
      return new int[0];
    }
  }

  /// The name of a thread, at most 15 characters; empty when there is no such thread.
  public static String name(int pid, int tid) {
    try {
      return Files.readString(
              Path.of("/proc", Integer.toString(pid), "task", Integer.toString(tid), "comm"),
              StandardCharsets.ISO_8859_1)
          .strip();
    } catch (IOException gone) {
      return "";
    }
  }

  /// Does something to every thread that process `pid` has or gets meanwhile: ends when no new one
  /// has appeared, or after [#MOST_LOOKS]. A process that never ceases to start threads keeps
  /// nobody here.
  static void forEach(int pid, IntConsumer step) {
    Set<Integer> done = new HashSet<>();
    boolean more = true;
    for (int look = 0; more && look < MOST_LOOKS; look++) {
      more = false;
      for (int thread : of(pid)) {
        if (done.add(thread)) {
          step.accept(thread);
          more = true;
        }
      }
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
