package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.util.BitSet;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// Gives memory of an OS back to the host as soon as a container that has left it has fetched it,
/// so that the host never needs the container's memory twice.
///
/// The other OS writes `freed FRAME COUNT` lines into a file, in pages of 4 KiB. The frames still
/// belong to processes that stand in the old OS until they are killed, so nobody there misses them.
///
/// The file belongs to one move and is read by the descriptor with which it was made, so what an
/// earlier move has left is never read. What it says is believed of frames that the old OS has
/// listed as the container's, and of each once. So the work is bounded by the length of that list,
/// however long the file is: at the first line that does not fit, reading ends.
final class Freed implements AutoCloseable {
  private static final Pattern LINE = Pattern.compile("freed ([0-9]{1,15}) ([0-9]{1,15})");
  private static final int PAGE_BITS = 12;
  private static final long LOOK_NANOS = 50_000_000;
  private static final int CHUNK_BYTES = 1 << 16;

  /// More than the longest line has.
  private static final int MOST_LINE_BYTES = 64;

  private final String os;
  private final MemFd memory;
  private final FileChannel file;
  private final BitSet frames;
  private final StringBuilder rest = new StringBuilder();
  private final Thread thread;
  private long left;
  private volatile boolean done;

  /// Begins to follow a file.
  ///
  /// @param os the name of the OS whose memory it is
  /// @param file made for this move; this object closes it
  /// @param pages what the OS has listed
  Freed(String os, MemFd memory, FileChannel file, PageList pages) {
    this.os = os;
    this.memory = memory;
    this.file = file;
    this.frames = (BitSet) pages.frames().clone();
    this.left = frames.cardinality();
    this.thread = Thread.ofPlatform().daemon().name("hf-freed").start(this::follow);
  }

  private void follow() {
    try {
      ByteBuffer chunk = ByteBuffer.allocate(CHUNK_BYTES);
      while (true) {
        boolean last = done;
        if (file.read(chunk.clear()) > 0) {
          take(StandardCharsets.ISO_8859_1.decode(chunk.flip()));
        } else if (last) {
          return;
        } else {
          LockSupport.parkNanos(LOOK_NANOS);
        }
      }
    } catch (IOException | LinuxException | ClosedException e) {
      System.getLogger(Freed.class.getName())
          .log(System.Logger.Level.WARNING, "memory of " + os + " will be freed later", e);
    }
  }

  private void take(CharSequence text) throws IOException {
    for (int i = 0; i < text.length(); i++) {
      if (text.charAt(i) == '\n') {
        takeLine(rest.toString());
        rest.setLength(0);
      } else if (rest.append(text.charAt(i)).length() > MOST_LINE_BYTES) {
        throw new IOException("a line of more than " + MOST_LINE_BYTES + " bytes");
      }
    }
  }

  private void takeLine(String text) throws IOException {
    Matcher line = LINE.matcher(text);
    if (!line.matches()) {
      throw new IOException("a line that does not say what is freed");
    }
    long frame = Long.parseLong(line.group(1));
    long count = Long.parseLong(line.group(2));
    if (count == 0 || count > left || frame > Integer.MAX_VALUE - count) {
      throw new IOException("more is freed than there was: " + count + " pages from " + frame);
    }
    left -= count;
    give((int) frame, (int) (frame + count));
  }

  /// Of others than the container's, nothing. Looks at no frame twice, wherever the next listed one
  /// may be.
  private void give(int from, int end) {
    for (int first = from; first < end; first++) {
      int behind = first;
      while (behind < end && frames.get(behind)) {
        behind++;
      }
      if (behind > first) {
        memory.punch((long) first << PAGE_BITS, (long) (behind - first) << PAGE_BITS);
        frames.clear(first, behind);
        first = behind;
      }
    }
  }

  /// Returns when all that was told has been given back.
  @Override
  public void close() {
    done = true;
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    try {
      file.close();
    } catch (IOException e) {
      System.getLogger(Freed.class.getName()).log(System.Logger.Level.DEBUG, os, e);
    }
  }
}
