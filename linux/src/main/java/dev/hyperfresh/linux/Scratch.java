package dev.hyperfresh.linux;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/// Native memory of one thread for the arguments of one call at a time, so that a call allocates
/// nothing once its thread has made the first. The garbage collector frees it after the thread.
///
/// Nothing stays valid here from one call to the next.
final class Scratch {
  /// The largest number of bytes that one read, write, send or receive moves.
  static final int BUFFER_BYTES = 64 * 1024;

  private static final int ARGUMENT_BYTES = 512;
  private static final ThreadLocal<Scratch> MINE = ThreadLocal.withInitial(Scratch::new);

  private final Arena arena = Arena.ofAuto();
  private final MemorySegment errno = arena.allocate(Errno.CAPTURE);
  private final MemorySegment arguments = arena.allocate(ARGUMENT_BYTES, Long.BYTES);
  private MemorySegment buffer = MemorySegment.NULL;

  static Scratch mine() {
    return MINE.get();
  }

  /// Where the linker writes errno.
  MemorySegment errno() {
    return errno;
  }

  /// Room for the small structures of a call.
  MemorySegment arguments() {
    return arguments;
  }

  /// Room for data that moves through a descriptor.
  MemorySegment buffer() {
    if (buffer.equals(MemorySegment.NULL)) {
      buffer = arena.allocate(BUFFER_BYTES, Long.BYTES);
    }
    return buffer;
  }
}
