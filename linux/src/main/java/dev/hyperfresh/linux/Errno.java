package dev.hyperfresh.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.invoke.MethodHandle;

/// How the result of a C call becomes a Java value: as it is, or `-errno` when it was -1.
final class Errno {
  private Errno() {}

  /// The memory into which the linker writes errno.
  static final StructLayout CAPTURE = Linker.Option.captureStateLayout();

  private static final long OFFSET =
      CAPTURE.byteOffset(MemoryLayout.PathElement.groupElement("errno"));

  private static final class Names {
    static final MethodHandle STRERRORNAME = Symbol.STRERRORNAME.link();
  }

  static int result(int value, MemorySegment capture) {
    return value == -1 ? -capture.get(JAVA_INT, OFFSET) : value;
  }

  static long result(long value, MemorySegment capture) {
    return value == -1 ? -capture.get(JAVA_INT, OFFSET) : value;
  }

  /// The C name, such as `ENOMEM`, or `errno` for a number that the C library does not know, and
  /// for all where it cannot be asked.
  static String name(int errno) {
    try {
      MemorySegment name =
          (MemorySegment) Names.STRERRORNAME.invokeExact(Scratch.mine().errno(), errno);
      if (name.equals(MemorySegment.NULL)) {
        return "errno";
      }
      // SAFETY: the C library answers with a constant string that lives for ever and ends in NUL;
      // the longest name has 15 letters, and the segment does not leave this method.
      return name.reinterpret(Long.MAX_VALUE).getString(0);
    } catch (MissingCallException older) {
      return "errno";
    } catch (Throwable thrown) {
      throw Symbol.unexpected(thrown);
    }
  }
}
