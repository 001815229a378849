package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/// Has the kernel write what a process wrote to files and block devices, and what is in the host's
/// memory only, to their disks. The process goes on, and may write more.
///
/// Descriptors are copied out of the process, so that no path of its is followed.
public final class WriteBack {
  /// Hardly anything was left when a round took no longer.
  private static final long LITTLE_NANOS = 10_000_000;

  /// A process that writes as fast as its disk always leaves something.
  private static final int MOST_ROUNDS = 8;

  // fcntl.h O_ACCMODE
  private static final int ACCESS_MODE = 3;

  // sys/stat.h
  private static final int S_IFMT = 0170000;
  private static final int S_IFREG = 0100000;
  private static final int S_IFBLK = 0060000;

  /// More than a guest has disks. A process may have any number of files open, and a copy of each
  /// would leave none for others. The disks are opened at its start, so they have low numbers.
  private static final int MOST_FILES = 64;

  private static final int MOST_LOOKED_AT = 4096;

  /// Whose disks somebody waits for. A disk that never answers holds one thread.
  private static final Set<Integer> WAITING = ConcurrentHashMap.newKeySet();

  // Far more than the files of fdinfo have of which this reads the first lines.
  private static final int INFO_BYTES = 4096;

  private WriteBack() {}

  /// Returns when hardly anything is left, or after some rounds. A file that cannot be written back
  /// is left out, and so is everything of a process that may not be looked at or has ended.
  ///
  /// @param limit how long it may take. Nothing ends a wait for a disk: the thread that waits for
  ///   it then goes on by itself
  /// @return false when that was not enough, or an earlier call still waits for a file of it
  /// @throws InterruptedException when the calling thread is interrupted
  public static boolean of(int pid, Duration limit) throws InterruptedException {
    if (!WAITING.add(pid)) {
      return false;
    }
    FutureTask<Boolean> rounds = new FutureTask<>(() -> rounds(pid), true);
    Thread.ofPlatform().daemon().name("hf-disks-" + pid).start(rounds);
    try {
      return rounds.get(limit.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      return false;
    } catch (ExecutionException e) {
      throw new IllegalStateException("cannot write back the files of process " + pid, e);
    }
  }

  private static void rounds(int pid) {
    List<Fd> files = List.of();
    try {
      files = files(pid);
      long took = Long.MAX_VALUE;
      for (int i = 0; i < MOST_ROUNDS && took > LITTLE_NANOS; i++) {
        long begun = System.nanoTime();
        files.forEach(WriteBack::sync);
        took = System.nanoTime() - begun;
      }
    } finally {
      files.forEach(Fd::close);
      WAITING.remove(pid);
    }
  }

  private static void sync(Fd file) {
    try {
      file.sync();
    } catch (LinuxException refused) {
      // The process learns of it, too, when it does the same.
      return;
    }
  }

  /// Copies of the descriptors by which the process may write, one for each file.
  static List<Fd> files(int pid) {
    List<Fd> files = new ArrayList<>();
    try (PidFd process = PidFd.open(pid)) {
      Map<Object, Integer> numbers = new HashMap<>();
      for (int number : numbers(pid)) {
        if (numbers.size() < MOST_FILES) {
          note(pid, number, numbers);
        }
      }
      numbers.values().forEach(number -> files.add(process.takeFd(number)));
    } catch (LinuxException | IOException closed) {
      // It has ended, has closed one meanwhile, or is not for this process to look at.
      return files;
    }
    return files;
  }

  private static int[] numbers(int pid) throws IOException {
    try (Stream<Path> all = Files.list(ProcFs.HOST.of(pid, "fd"))) {
      return all.mapToInt(entry -> Integer.parseInt(entry.getFileName().toString()))
          .sorted()
          .limit(MOST_LOOKED_AT)
          .toArray();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  private static void note(int pid, int number, Map<Object, Integer> numbers) {
    try {
      Map<String, Object> file =
          Files.readAttributes(ProcFs.HOST.of(pid, "fd/" + number), "unix:mode,dev,ino");
      Object device = file.get("dev");
      Object inode = file.get("ino");
      boolean isDisk = file.get("mode") instanceof Integer mode && isDisk(mode);
      if (isDisk && device != null && inode != null && mayWrite(pid, number)) {
        numbers.putIfAbsent(List.of(device, inode), number);
      }
    } catch (IOException closed) {
      return;
    }
  }

  private static boolean isDisk(int mode) {
    int kind = mode & S_IFMT;
    return kind == S_IFREG || kind == S_IFBLK;
  }

  private static boolean mayWrite(int pid, int number) {
    return ProcFs.HOST.head(pid, "fdinfo/" + number, INFO_BYTES).stream()
        .flatMap(info -> new String(info, StandardCharsets.ISO_8859_1).lines())
        .filter(line -> line.startsWith("flags:"))
        .mapToInt(line -> Integer.parseInt(line.substring("flags:".length()).strip(), 8))
        .anyMatch(flags -> (flags & ACCESS_MODE) != 0);
  }
}
