package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Stat;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/// A log to which another process appends as much as it likes, with `O_APPEND`. Its writer is never
/// stopped, slowed down or told: this side cuts the middle out of the file and reads no more of it
/// than fits into memory.
///
/// The beginning stays because it tells how the process started, the end because it tells how it
/// ended. All methods may be called by any thread.
public final class LogFile {
  /// How much of its beginning stays.
  public static final int HEAD_BYTES = 64 << 10;

  /// How much of its end stays, at least.
  public static final int TAIL_BYTES = 448 << 10;

  /// From how much on the disk a log is cut.
  public static final long MAX_BYTES = 1 << 20;

  /// The longest line of [#lastLines], in characters.
  public static final int MAX_LINE = 300;

  /// The last bytes of the beginning, once something is missing behind it.
  static final String CUT = "\n[the middle of this log was cut out]\n";

  /// A multiple of the block size of every file system whose files can be cut.
  private static final long ALIGNMENT = 64 << 10;

  private static final int LAST_LINES_BYTES = 64 << 10;
  private static final int STAT_BLOCK = 512;

  private final Path path;

  /// The log at `path`, which need not be there yet.
  public LogFile(Path path) {
    this.path = path;
  }

  /// What is left of a log.
  ///
  /// @param text the beginning and the end; a byte is a character
  /// @param whole whether nothing is missing
  public record Excerpt(String text, boolean whole) {}

  /// Cuts the middle out when the log takes more than [#MAX_BYTES] on the disk. Where the file
  /// system cannot close the gap (`FALLOC_FL_COLLAPSE_RANGE`: ext4 and XFS can), a hole stays,
  /// which takes no room but counts in the file's length.
  ///
  /// @return whether something was cut; not while somebody has a lease on the log (fcntl(2)), which
  ///   the kernel then takes away within a minute
  /// @throws LinuxException when the log cannot be written, or the file system can do neither
  public boolean cut() {
    try (Fd log = open(OpenFlags.READ_WRITE)) {
      return cut(log);
    } catch (LinuxException e) {
      if (e.errno() == Constants.EAGAIN) {
        return false;
      }
      throw e;
    }
  }

  /// Never waits for whoever has a lease.
  private Fd open(int flags) {
    return Fd.open(path, flags | OpenFlags.NON_BLOCKING);
  }

  private boolean cut(Fd log) {
    long length = (length(log) - HEAD_BYTES - TAIL_BYTES) / ALIGNMENT * ALIGNMENT;
    if (length <= 0 || allocated(log) <= MAX_BYTES) {
      return false;
    }
    // First: whoever reads meanwhile may think that something is missing, never the contrary.
    mark(log);
    int done = fallocate(log, Constants.FALLOC_FL_COLLAPSE_RANGE, length);
    if (done == -Constants.EOPNOTSUPP || done == -Constants.EINVAL) {
      int hole = Constants.FALLOC_FL_PUNCH_HOLE | Constants.FALLOC_FL_KEEP_SIZE;
      done = fallocate(log, hole, length);
    }
    check(done, "fallocate", path.toString());
    return true;
  }

  /// How much room the log takes on the disk.
  ///
  /// @throws LinuxException when it cannot be opened
  public long allocatedBytes() {
    try (Fd log = open(OpenFlags.READ_ONLY)) {
      return allocated(log);
    }
  }

  private static int fallocate(Fd log, int mode, long length) {
    int held = log.acquire();
    try {
      return MemoryCalls.fallocate(held, mode, HEAD_BYTES, length);
    } finally {
      log.release();
    }
  }

  private static long length(Fd log) {
    return Stat.st_size.get(stat(log));
  }

  private static long allocated(Fd log) {
    return Stat.st_blocks.get(stat(log)) * STAT_BLOCK;
  }

  private static MemorySegment stat(Fd log) {
    MemorySegment stat = Scratch.mine().arguments();
    int held = log.acquire();
    try {
      check(MemoryCalls.fstat(held, stat), "fstat", log.label());
    } finally {
      log.release();
    }
    return stat;
  }

  private static void mark(Fd log) {
    byte[] mark = CUT.getBytes(StandardCharsets.US_ASCII);
    int held = log.acquire();
    try {
      long at = MemoryCalls.lseek(held, (long) HEAD_BYTES - mark.length, Constants.SEEK_SET);
      check(at, "lseek", log.label());
    } finally {
      log.release();
    }
    for (int done = 0; done < mark.length; ) {
      done += log.write(mark, done, mark.length - done);
    }
  }

  /// The beginning and the end of the log, [#HEAD_BYTES] and [#TAIL_BYTES] at most.
  ///
  /// @throws IOException when it cannot be read, such as when it is not there
  public Excerpt excerpt() throws IOException {
    try (FileChannel log = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = log.size();
      if (size <= HEAD_BYTES + TAIL_BYTES) {
        String all = read(log, 0, (int) size);
        return new Excerpt(all, !all.contains(CUT));
      }
      String head = read(log, 0, HEAD_BYTES);
      return new Excerpt(head + "\n" + read(log, size - TAIL_BYTES, TAIL_BYTES), false);
    }
  }

  /// The last lines that hold more than blanks, looked for in the last 64 KiB; each without blanks
  /// around it and of at most [#MAX_LINE] characters.
  ///
  /// @throws IOException when the log cannot be read, such as when it is not there
  public List<String> lastLines() throws IOException {
    try (FileChannel log = FileChannel.open(path, StandardOpenOption.READ)) {
      int length = (int) Math.min(log.size(), LAST_LINES_BYTES);
      return read(log, log.size() - length, length)
          .lines()
          .map(line -> line.replace('\0', ' ').strip())
          .filter(line -> !line.isEmpty())
          .map(line -> line.length() > MAX_LINE ? line.substring(0, MAX_LINE) + "…" : line)
          .toList();
    }
  }

  private static String read(FileChannel log, long from, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length);
    while (bytes.hasRemaining() && log.read(bytes, from + bytes.position()) > 0) {
      // What is missing at the end was cut out meanwhile.
    }
    return new String(bytes.array(), 0, bytes.position(), StandardCharsets.ISO_8859_1);
  }
}
