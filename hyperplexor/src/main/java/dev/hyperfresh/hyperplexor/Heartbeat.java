package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.MemFd;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/// The page in which a guest that wants to be measured counts its own beats; the layout, version 3,
/// stands in `testkit/guests/README.md`. The guest is not trusted: whatever it writes there can
/// only spoil its own measurement.
public final class Heartbeat {
  /// First word of the page.
  public static final long MAGIC_0 = 0x4859504652534831L;

  /// Second word of the page.
  public static final long MAGIC_1 = 0x9d3a6c1598e6a4a5L;

  /// Offset of the beat counter in the page, bytes.
  public static final long COUNTER_OFFSET = 24;

  /// How many pages [#candidates] gives at most: boots leave one each, and a guest that writes more
  /// only makes its own measurement slow.
  public static final int MAX_CANDIDATES = 64;

  private static final int PAGE = 4096;
  private static final int CHUNK = 1 << 20;

  private Heartbeat() {}

  /// Offsets in `memory` of the pages that begin as a heartbeat page does, the first
  /// [#MAX_CANDIDATES] of them. Pages of earlier boots may be among them.
  ///
  /// Reads through the descriptor instead of a mapping, so that neither holes of the memory are
  /// filled nor the caller's resident set grows.
  public static List<Long> candidates(MemFd memory) {
    List<Long> found = new ArrayList<>();
    Path path = Path.of("/proc/self/fd", Integer.toString(memory.fd().number()));
    ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ)) {
      OptionalLong start = memory.nextData(0);
      while (start.isPresent() && found.size() < MAX_CANDIDATES) {
        long end = memory.nextHole(start.getAsLong());
        for (long at = start.getAsLong(); at < end && found.size() < MAX_CANDIDATES; at += CHUNK) {
          search(file, chunk, at, Math.min(at + CHUNK, end), found);
        }
        start = end < memory.bytes() ? memory.nextData(end) : OptionalLong.empty();
      }
    } catch (IOException e) {
      // The memory is our own descriptor; a failure here only means that nothing can be measured.
      return List.of();
    }
    return found;
  }

  private static void search(
      FileChannel file, ByteBuffer chunk, long from, long to, List<Long> found) throws IOException {
    chunk.clear().limit((int) (to - from));
    int read = file.read(chunk, from);
    for (int i = 0; i + 16 <= read && found.size() < MAX_CANDIDATES; i += PAGE) {
      if (chunk.getLong(i) == MAGIC_0 && chunk.getLong(i + 8) == MAGIC_1) {
        found.add(from + i);
      }
    }
  }
}
