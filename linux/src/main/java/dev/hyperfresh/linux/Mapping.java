package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;

/// A mapping of a file into this process, with one owner; [#close] unmaps it once.
///
/// The memory may be used by any thread. **Never close a mapping inside a blackout:** closing stops
/// every thread for a moment and tears page tables down.
public final class Mapping implements AutoCloseable {
  private static final VarHandle LONG = ValueLayout.JAVA_LONG.varHandle();

  private final Arena arena = Arena.ofShared();
  private final MemorySegment segment;

  private Mapping(long address, long bytes, boolean writable, String label) {
    // SAFETY: mmap has just answered with this address for exactly these bytes, and nothing else
    // unmaps them: the arena does, once, after which no slice of the segment can be used any more.
    MemorySegment whole =
        MemorySegment.ofAddress(address)
            .reinterpret(
                bytes,
                arena,
                mapped -> check(MemoryCalls.munmap(mapped, mapped.byteSize()), "munmap", label));
    // A write through a read-only page would be a fault of the whole process.
    this.segment = writable ? whole : whole.asReadOnly();
  }

  /// Maps an open file from its start, shared with every other mapping of it. Of huge pages none is
  /// set aside: those that are there are seen.
  static Mapping shared(Fd fd, long bytes, boolean writable, String label) {
    int protection = Constants.PROT_READ | (writable ? Constants.PROT_WRITE : 0);
    int flags = Constants.MAP_SHARED | Constants.MAP_NORESERVE;
    int held = fd.acquire();
    try {
      long address = MemoryCalls.mmap(bytes, protection, flags, held);
      return new Mapping(check(address, "mmap", label), bytes, writable, label);
    } finally {
      fd.release();
    }
  }

  /// Maps zeroed memory of this process alone.
  static Mapping anonymous(long bytes, String label) {
    int protection = Constants.PROT_READ | Constants.PROT_WRITE;
    int flags = Constants.MAP_PRIVATE | Constants.MAP_ANONYMOUS;
    long address = MemoryCalls.mmap(bytes, protection, flags, -1);
    return new Mapping(check(address, "mmap", label), bytes, true, label);
  }

  /// The memory, of exactly [#bytes] bytes. Any use after close throws `IllegalStateException`; a
  /// write to a read-only mapping throws `IllegalArgumentException`.
  public MemorySegment segment() {
    return segment;
  }

  /// A word that somebody else may be writing, read whole and anew each time.
  ///
  /// @param offset in bytes, a multiple of 8
  /// @throws IndexOutOfBoundsException when it is not inside the mapping
  public long longAt(long offset) {
    return (long) LONG.getVolatile(segment, offset);
  }

  /// The length in bytes.
  public long bytes() {
    return segment.byteSize();
  }

  /// Unmaps the memory; the second time does nothing.
  ///
  /// @throws IllegalStateException when a native call is using the memory; it then stays mapped
  @Override
  public synchronized void close() {
    if (segment.scope().isAlive()) {
      arena.close();
    }
  }
}
