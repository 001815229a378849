package dev.hyperfresh.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.hyperfresh.linux.Layouts.Iovec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/// A mapping of a memory file in another process, and the page tables of that process for it.
///
/// @param start the first address
/// @param end the address after the last
/// @param offset where in the file the mapping starts, bytes
public record ProcessMemory(int pid, long start, long end, long offset) {
  /// A read fault maps the pages around it too that are present in the file, in an aligned window
  /// of this size: the kernel's `fault_around_bytes`, 64 KiB unless somebody changed it.
  private static final long WINDOW = 64 << 10;

  // limits.h IOV_MAX
  private static final int BATCH = 1024;

  /// A mapping of a file, and of which one.
  ///
  /// @param shared whether others see what is written
  /// @param device the number of the file's device, in hexadecimal, as `major:minor`
  /// @param inode the file's number on that device
  public record Mapped(ProcessMemory range, boolean shared, String device, long inode) {
    /// proc_pid_maps(5): addresses, permissions with `s` for shared, offset, device, inode, name.
    private static Optional<Mapped> parse(int pid, String line) {
      String[] fields = line.split(" +", 6);
      if (fields.length < 5 || fields[4].equals("0")) {
        return Optional.empty();
      }
      String[] range = fields[0].split("-");
      return Optional.of(
          new Mapped(
              new ProcessMemory(
                  pid,
                  Long.parseUnsignedLong(range[0], 16),
                  Long.parseUnsignedLong(range[1], 16),
                  Long.parseUnsignedLong(fields[2], 16)),
              fields[1].endsWith("s"),
              fields[3],
              Long.parseUnsignedLong(fields[4])));
    }
  }

  /// All files that process `pid` maps, by their addresses.
  ///
  /// @throws IOException when the process is gone or may not be looked at
  public static List<Mapped> files(int pid) throws IOException {
    Path path = Path.of("/proc", Integer.toString(pid), "maps");
    try (Stream<String> maps = Files.lines(path, StandardCharsets.ISO_8859_1)) {
      return maps.map(line -> Mapped.parse(pid, line)).flatMap(Optional::stream).toList();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /// A device's number as proc_pid_maps(5) writes it.
  ///
  /// @param number as stat(2) has it
  public static String device(long number) {
    // gnu_dev_major(3): 12 and 20 bits of each in two pieces.
    long major = (number >>> 8 & 0xfff) | (number >>> 32 & 0xfffff000L);
    long minor = (number & 0xff) | (number >>> 12 & 0xffffff00L);
    return "%02x:%02x".formatted(major, minor);
  }

  /// The mappings of `memory` in process `pid` that others see the writes of; empty when there are
  /// none or the process is gone.
  public static List<ProcessMemory> sharedMappings(int pid, MemFd memory) {
    long inode = memory.inode();
    String device = memory.device();
    List<Mapped> mapped;
    try {
      mapped = files(pid).stream().filter(file -> file.shared() && file.inode() == inode).toList();
    } catch (IOException gone) {
      return List.of();
    }
    // Some file systems have one number in stat(2) and another one here, so that only the inode is
    // left to go by.
    boolean told = mapped.stream().anyMatch(file -> file.device().equals(device));
    return mapped.stream()
        .filter(file -> !told || file.device().equals(device))
        .map(Mapped::range)
        .toList();
  }

  /// Makes the pages that `memory` holds present in the page tables of the process: reads a byte of
  /// every 64 KiB through `process_vm_readv`, which faults them in there. Pages that the memory
  /// does not hold stay holes. Needs the right to trace the process; stops where the kernel
  /// refuses.
  ///
  /// @return bytes of the memory that were walked
  public long populate(MemFd memory) {
    long walked = 0;
    try (Arena arena = Arena.ofConfined()) {
      Batch batch = new Batch(arena);
      OptionalLong data = memory.nextData(offset);
      long last = Math.min(memory.bytes(), offset + end - start);
      while (data.isPresent() && data.getAsLong() < last) {
        long hole = Math.min(memory.nextHole(data.getAsLong()), last);
        if (!touch(batch, data.getAsLong(), hole)) {
          return walked;
        }
        walked += hole - data.getAsLong();
        data = hole < last ? memory.nextData(hole) : OptionalLong.empty();
      }
      return batch.flush() ? walked : 0;
    }
  }

  private boolean touch(Batch batch, long from, long to) {
    long at = from;
    while (at < to) {
      if (!batch.add(start + at - offset)) {
        return false;
      }
      at = (start + at - offset) / WINDOW * WINDOW + WINDOW - start + offset;
    }
    return true;
  }

  /// One byte each from many places of the process.
  private final class Batch {
    private final MemorySegment local;
    private final MemorySegment remote;
    private int count;

    Batch(Arena arena) {
      local = arena.allocate(Iovec.TYPE.bytes(), Long.BYTES);
      Iovec.iov_base.set(local, arena.allocate(JAVA_BYTE, BATCH).address());
      remote = arena.allocate(Iovec.TYPE.bytes() * BATCH, Long.BYTES);
    }

    boolean add(long address) {
      MemorySegment vector = remote.asSlice(count * Iovec.TYPE.bytes(), Iovec.TYPE.bytes());
      Iovec.iov_base.set(vector, address);
      Iovec.iov_len.set(vector, 1);
      count++;
      return count < BATCH || flush();
    }

    boolean flush() {
      int wanted = count;
      count = 0;
      if (wanted == 0) {
        return true;
      }
      Iovec.iov_len.set(local, wanted);
      return PidCalls.processVmReadv(pid, local, 1, remote, wanted) == wanted;
    }
  }
}
