package dev.hyperfresh.relocation;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.BitSet;

/// The pages of a container that has been frozen, as the OS that it leaves has written them down
/// (`struct header` and `struct run` of `list.h`).
///
/// @param bytes of all pages; those that processes share count for each of them
/// @param frames where they are in the memory of that OS, in pages of 4 KiB
record PageList(long bytes, BitSet frames) {
  /// Of an OS that has written nothing down.
  static final PageList NONE = new PageList(0, new BitSet());

  private static final int PAGE_BITS = 12;
  static final int HEADER_BYTES = 24;
  static final int RUN_BYTES = 24;
  private static final int FRAME_OFFSET = 8;
  static final int COUNT_OFFSET = 16;
  private static final int CHUNK_RUNS = 4096;

  /// Where memory that is not below the split goes on for the OS.
  private static final long HIGH_FRAME = 4L << 30 >> PAGE_BITS;

  /// How often a page may be listed, all in all: processes that have forked share theirs. What
  /// comes after is left out.
  private static final int MOST_SHARERS = 4;

  /// Reads a list.
  ///
  /// @param memoryBytes of the OS
  /// @param split where the part of the memory that is not below 4 GiB begins in it; `memoryBytes`
  ///   when none is
  static PageList read(FileChannel file, long memoryBytes, long split) throws IOException {
    long all = memoryBytes >> PAGE_BITS;
    BitSet frames = new BitSet();
    ByteBuffer chunk = ByteBuffer.allocate(CHUNK_RUNS * RUN_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    file.position(HEADER_BYTES);
    long pages = 0;
    // A run has at least a page, so this bounds what is read too.
    while (pages < all * MOST_SHARERS && fill(file, chunk)) {
      while (chunk.remaining() >= RUN_BYTES && pages < all * MOST_SHARERS) {
        int run = chunk.position();
        long count = Math.max(1, Integer.toUnsignedLong(chunk.getInt(run + COUNT_OFFSET)));
        pages += count;
        add(
            frames,
            located(chunk.getLong(run + FRAME_OFFSET), split >> PAGE_BITS, all),
            count,
            all);
        chunk.position(run + RUN_BYTES);
      }
    }
    return new PageList(Math.min(pages, all * MOST_SHARERS) << PAGE_BITS, frames);
  }

  private static boolean fill(FileChannel file, ByteBuffer chunk) throws IOException {
    chunk.clear();
    while (chunk.hasRemaining() && file.read(chunk) > 0) {
      // Until it is full, or there is no more.
    }
    chunk.flip();
    return chunk.remaining() >= RUN_BYTES;
  }

  /// As `locate` of `list.h`.
  private static long located(long frame, long split, long all) {
    return split < all && frame >= HIGH_FRAME ? frame - HIGH_FRAME + split : frame;
  }

  private static void add(BitSet frames, long from, long count, long all) {
    if (from >= 0 && from < all && all <= Integer.MAX_VALUE) {
      frames.set((int) from, (int) Math.min(from + count, all));
    }
  }
}
