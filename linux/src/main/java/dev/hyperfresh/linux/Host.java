package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.function.Supplier;

/// What this host has and who runs here. All methods may be called by any thread.
public final class Host {
  private static final Path MEMINFO = Path.of("/proc/meminfo");

  private Host() {}

  /// The memory that the kernel manages, in bytes (`MemTotal`).
  public static long totalMemoryBytes() {
    return memory("MemTotal");
  }

  /// The memory that new work could use without swapping, in bytes (`MemAvailable`).
  public static long availableMemoryBytes() {
    return memory("MemAvailable");
  }

  /// How many huge pages of one size are set aside and neither in use nor promised.
  ///
  /// @param pageBytes the size
  /// @return 0 also when the host has none of that size
  public static long freeHugePages(long pageBytes) {
    Path pool = Path.of("/sys/kernel/mm/hugepages/hugepages-" + (pageBytes >> 10) + "kB");
    try {
      return Math.max(
          0, pages(pool.resolve("free_hugepages")) - pages(pool.resolve("resv_hugepages")));
    } catch (IOException none) {
      return 0;
    }
  }

  private static long pages(Path file) throws IOException {
    return Long.parseLong(Files.readString(file).strip());
  }

  /// The user whose rights this process has; 0 is root.
  public static int effectiveUid() {
    return ThreadCalls.geteuid();
  }

  /// As [ProcFs#start], of a process of this host.
  ///
  /// @return empty when there is no such process
  public static OptionalLong processStart(int pid) {
    return ProcFs.HOST.start(pid);
  }

  /// Names this boot of the host: no other boot of any host has the same
  /// (`/proc/sys/kernel/random/boot_id`).
  public static String bootId() {
    try {
      return Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
    } catch (IOException unreadable) {
      throw new UncheckedIOException("cannot read the boot's name", unreadable);
    }
  }

  /// The boot in which a file was last written, as [#bootId] has it.
  ///
  /// @return empty when that was an earlier one than this
  public static Optional<String> bootOf(Path file) {
    try {
      // Seconds since the host started; then those in which it did nothing.
      String seconds = Files.readString(Path.of("/proc/uptime")).split(" ", 2)[0];
      Duration up = Duration.ofMillis((long) (Double.parseDouble(seconds) * 1000));
      Instant written = Files.getLastModifiedTime(file).toInstant();
      return Duration.between(written, Instant.now()).compareTo(up) < 0
          ? Optional.of(bootId())
          : Optional.empty();
    } catch (IOException unreadable) {
      throw new UncheckedIOException("cannot tell when " + file + " was written", unreadable);
    }
  }

  /// How many page faults a process has had, minor and major ones: fields 10 and 12 of
  /// proc_pid_stat(5).
  ///
  /// @return empty when there is no such process
  public static OptionalLong pageFaults(int pid) {
    Optional<String[]> stat = ProcFs.HOST.stat(pid);
    return stat.isPresent()
        ? OptionalLong.of(Long.parseLong(stat.get()[10 - 3]) + Long.parseLong(stat.get()[12 - 3]))
        : OptionalLong.empty();
  }

  /// As [ProcFs#uid], of a process of this host.
  ///
  /// @return empty when there is no such process
  public static OptionalInt processUid(int pid) {
    return ProcFs.HOST.uid(pid);
  }

  /// Runs code inside another network namespace and gives its answer. The code runs on a thread of
  /// its own that ends with it, so no other thread ever changes its namespace. Sockets and taps
  /// made there stay in that namespace wherever they are used.
  ///
  /// @param namespaceFile such as `/run/netns/<name>` or `/proc/<pid>/ns/net`
  /// @throws LinuxException when there is no such namespace, or without the right to enter it
  public static <T> T inNetworkNamespace(Path namespaceFile, Supplier<T> body) {
    return onOwnThread(
        "hf-netns",
        () -> {
          enterNetwork(namespaceFile);
          return body.get();
        });
  }

  /// Runs code on a thread that ends with it, whatever the code does to the thread.
  static <T> T onOwnThread(String name, Supplier<T> body) {
    FutureTask<T> task = new FutureTask<>(body::get);
    Thread.ofPlatform().name(name).daemon(true).start(task);
    return answer(task);
  }

  /// Reads one line of `/proc/meminfo`.
  ///
  /// @return bytes
  static long memoryBytes(String meminfo, String field) {
    return meminfo
        .lines()
        .map(line -> line.split("\\s+"))
        .filter(words -> words.length == 3 && words[0].equals(field + ":"))
        .mapToLong(words -> Long.parseLong(words[1]) * 1024)
        .findFirst()
        .orElseThrow(() -> new IllegalStateException(MEMINFO + " has no line " + field));
  }

  private static long memory(String field) {
    try {
      return memoryBytes(Files.readString(MEMINFO), field);
    } catch (IOException unreadable) {
      throw new UncheckedIOException("cannot read " + MEMINFO, unreadable);
    }
  }

  private static void enterNetwork(Path namespaceFile) {
    try (Fd namespace = Fd.open(namespaceFile, OpenFlags.READ_ONLY)) {
      check(
          ThreadCalls.setns(namespace.number(), Constants.CLONE_NEWNET),
          "setns CLONE_NEWNET",
          namespace.label());
    }
  }

  // An interrupt is kept for the caller: the body may hold resources, so its answer is awaited.
  private static <T> T answer(FutureTask<T> task) {
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return task.get();
        } catch (InterruptedException again) {
          interrupted = true;
        } catch (ExecutionException failed) {
          throw Symbol.unexpected(failed.getCause());
        }
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
