package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;

/// Whether this host has room for one more hypervisor. What is read and what follows from it are
/// kept apart: the methods that take numbers look at nothing.
final class HostChecks {
  /// What a hypervisor needs beside the guest's memory, which it maps: measured at 60 to 120 MiB.
  static final long OVERHEAD_BYTES = 256L << 20;

  /// What a rehearsal needs: two of them, and a memory in which next to nothing is written.
  static final long REHEARSAL_BYTES = 2 * OVERHEAD_BYTES;

  /// More than a replacement of a guest with all cards and disks opens in this process.
  private static final long OWN_FILES = 64;

  /// More than a hypervisor and its libraries have open.
  private static final long FILES = 256;

  /// More than the mappings of two releases of a hypervisor differ by.
  private static final long MORE_MAPPINGS = 1000;

  /// More than logs, journal and a guest's file grow by in a replacement.
  private static final long STATE_BYTES = 16L << 20;

  private static final Path PROC = Path.of("/proc");
  private static final Path NO_OVERCOMMIT = PROC.resolve("sys/vm/overcommit_memory");

  private HostChecks() {}

  /// The host as it is now.
  ///
  /// @param pid the hypervisor that runs the guest, which the next one will resemble
  /// @param folder the guest's, in the state directory
  /// @param copied how much memory the next one has for itself
  static List<Check> now(int pid, Path folder, long copied) {
    return List.of(
        memory(Host.availableMemoryBytes()),
        openFiles(
            limit(text(PROC.resolve("self/limits"))),
            entries(PROC.resolve("self/fd")),
            numbers(text(PROC.resolve("sys/fs/file-nr")))),
        mappings(
            first(text(PROC.resolve("sys/vm/max_map_count"))),
            lines(PROC.resolve(Integer.toString(pid)).resolve("maps"))),
        commitment(text(NO_OVERCOMMIT).strip().equals("2"), text(PROC.resolve("meminfo")), copied),
        stateDirectory(folder, Files.isWritable(folder), usable(folder)));
  }

  static Check memory(long availableBytes) {
    String has = "the host has " + (availableBytes >> 20) + " MiB available.";
    String needs = "A second hypervisor needs " + (OVERHEAD_BYTES >> 20) + " MiB, and ";
    return availableBytes < OVERHEAD_BYTES
        ? Check.fail("host memory", needs + has, "Free memory on the host.")
        : Check.pass("host memory", needs + has);
  }

  /// Whether there is room for a second copy of a guest's memory.
  static Check copy(long memoryBytes, long availableBytes) {
    String finding =
        "The guest's memory is there twice while it is copied: that takes "
            + (memoryBytes >> 20)
            + " MiB beside the "
            + (OVERHEAD_BYTES >> 20)
            + " MiB of a second hypervisor, and the host has "
            + (availableBytes >> 20)
            + " MiB available.";
    return availableBytes < memoryBytes + OVERHEAD_BYTES
        ? Check.fail("memory twice", finding, "Free memory on the host.")
        : Check.pass("memory twice", finding);
  }

  /// @param limit of open files of this process and of those that it starts; empty when not known
  /// @param open in this process
  /// @param system allocated, unused, most: the three numbers of `fs.file-nr`
  static Check openFiles(OptionalLong limit, OptionalLong open, List<Long> system) {
    if (limit.isEmpty() || open.isEmpty() || system.size() != 3) {
      return Check.unknown(
          "open files",
          "The limits of open files could not be read.",
          "Look at /proc/self/limits and fs.file-nr.");
    }
    long left = limit.getAsLong() - open.getAsLong();
    if (left < OWN_FILES || limit.getAsLong() < FILES) {
      return Check.fail(
          "open files",
          "The daemon has "
              + open.getAsLong()
              + " of at most "
              + limit.getAsLong()
              + " files open and needs "
              + OWN_FILES
              + " more; a hypervisor needs "
              + FILES
              + ".",
          "Start the daemon with a higher limit: ulimit -n, or LimitNOFILE of its service.");
    }
    long systemLeft = system.get(2) - system.get(0) + system.get(1);
    return systemLeft < OWN_FILES + FILES
        ? Check.fail(
            "open files",
            "The host can open only " + systemLeft + " more files.",
            "Raise fs.file-max with sysctl.")
        : Check.pass(
            "open files",
            "The daemon has "
                + open.getAsLong()
                + " of at most "
                + limit.getAsLong()
                + " files open.");
  }

  /// @param most mappings that a process may have, `vm.max_map_count`
  /// @param source how many the hypervisor has that runs the guest
  static Check mappings(OptionalLong most, OptionalLong source) {
    if (most.isEmpty() || source.isEmpty()) {
      return Check.unknown(
          "mappings",
          "The mappings of the running hypervisor could not be counted.",
          "Look at vm.max_map_count.");
    }
    String finding =
        "The running hypervisor has "
            + source.getAsLong()
            + " mappings, and a process may have "
            + most.getAsLong()
            + ".";
    return source.getAsLong() + MORE_MAPPINGS > most.getAsLong()
        ? Check.fail("mappings", finding, "Raise vm.max_map_count with sysctl.")
        : Check.pass("mappings", finding);
  }

  /// @param strict whether the kernel refuses to promise more memory than it has
  /// @param copied as in [#now]
  static Check commitment(boolean strict, String meminfo, long copied) {
    if (!strict) {
      return Check.pass("overcommit", "The kernel lets processes map more than they use.");
    }
    OptionalLong limit = field(meminfo, "CommitLimit");
    OptionalLong committed = field(meminfo, "Committed_AS");
    if (limit.isEmpty() || committed.isEmpty()) {
      return Check.unknown(
          "overcommit",
          "/proc/meminfo does not say how much memory is committed.",
          "Look at CommitLimit and Committed_AS.");
    }
    long left = limit.getAsLong() - committed.getAsLong();
    String finding =
        "The kernel commits no more memory than it has (vm.overcommit_memory=2), and "
            + (left >> 20)
            + " MiB are left.";
    return left < OVERHEAD_BYTES + copied
        ? Check.fail("overcommit", finding, "Raise vm.overcommit_ratio, or end other processes.")
        : Check.pass("overcommit", finding);
  }

  static Check stateDirectory(Path folder, boolean writable, OptionalLong usableBytes) {
    if (!writable) {
      return Check.fail(
          "state directory",
          folder + " cannot be written.",
          "Correct its permissions, or mount its file system read-write.");
    }
    if (usableBytes.isEmpty()) {
      return Check.unknown(
          "state directory", "The free space in " + folder + " is not known.", "Look at df.");
    }
    String finding = folder + " has " + (usableBytes.getAsLong() >> 20) + " MiB of free space.";
    return usableBytes.getAsLong() < STATE_BYTES
        ? Check.fail(
            "state directory",
            finding,
            "Free space on its file system: " + (STATE_BYTES >> 20) + " MiB are needed.")
        : Check.pass("state directory", finding);
  }

  /// The soft limit of open files in the text of `/proc/PID/limits`.
  static OptionalLong limit(String limits) {
    return limits
        .lines()
        .filter(line -> line.startsWith("Max open files"))
        .map(line -> line.split(" {2,}")[1])
        .mapToLong(word -> word.equals("unlimited") ? Long.MAX_VALUE : Long.parseLong(word))
        .findFirst();
  }

  /// A field of `/proc/meminfo`, bytes.
  private static OptionalLong field(String meminfo, String name) {
    return meminfo
        .lines()
        .filter(line -> line.startsWith(name + ":"))
        .mapToLong(line -> Long.parseLong(line.split("\\s+")[1]) << 10)
        .findFirst();
  }

  private static List<Long> numbers(String text) {
    return Stream.of(text.strip().split("\\s+"))
        .filter(word -> word.matches("[0-9]{1,20}"))
        .map(HostChecks::saturated)
        .toList();
  }

  // Some kernels have no limit and say so with 2^63 - 1 or 2^64 - 1.
  private static long saturated(String word) {
    return word.length() > 18 ? Long.MAX_VALUE : Long.parseLong(word);
  }

  private static OptionalLong first(String text) {
    return numbers(text).stream().mapToLong(Long::longValue).findFirst();
  }

  // In one read: a second one of a file under /proc/sys finds its end, wherever the first stopped.
  private static String text(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = new byte[16 * 1024];
      int count = Math.max(0, in.read(bytes));
      return new String(bytes, 0, count, StandardCharsets.US_ASCII);
    } catch (IOException e) {
      return "";
    }
  }

  private static OptionalLong lines(Path file) {
    try (Stream<String> lines = Files.lines(file)) {
      return OptionalLong.of(lines.count());
    } catch (IOException | UncheckedIOException e) {
      return OptionalLong.empty();
    }
  }

  private static OptionalLong entries(Path folder) {
    try (Stream<Path> entries = Files.list(folder)) {
      return OptionalLong.of(entries.count());
    } catch (IOException | UncheckedIOException e) {
      return OptionalLong.empty();
    }
  }

  private static OptionalLong usable(Path folder) {
    try {
      return OptionalLong.of(Files.getFileStore(folder).getUsableSpace());
    } catch (IOException e) {
      return OptionalLong.empty();
    }
  }
}
