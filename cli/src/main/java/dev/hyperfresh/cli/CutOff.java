package dev.hyperfresh.cli;

import io.helidon.common.buffers.DataReader;
import java.io.UncheckedIOException;

/// How the web client's library says that a connection ended before the answer did. It has no
/// exception for that:
///
/// - what the socket says comes as an `UncheckedIOException`;
/// - an answer that ends where more must come, as an `InsufficientDataAvailableException`;
/// - one that ends inside its status line or inside the length of a chunk, and a connection that
///   the library has closed by then, as a bare `IllegalStateException`.
///
/// The last is also what Java throws for a defect, so only one that the library itself has thrown
/// counts.
final class CutOff {
  private static final String LIBRARY = "io.helidon.";

  private CutOff() {}

  /// Whether that is what `failure` says.
  static boolean is(RuntimeException failure) {
    return switch (failure) {
      case UncheckedIOException _, DataReader.InsufficientDataAvailableException _ -> true;
      case IllegalStateException state -> isOfTheLibrary(state);
      default -> false;
    };
  }

  private static boolean isOfTheLibrary(IllegalStateException failure) {
    StackTraceElement[] stack = failure.getStackTrace();
    return failure.getClass() == IllegalStateException.class
        && stack.length > 0
        && stack[0].getClassName().startsWith(LIBRARY);
  }
}
