package dev.hyperfresh.cli;

import java.util.logging.Level;
import java.util.logging.Logger;

/// What the daemon writes to standard error: one line an entry, and of libraries only warnings.
public final class Logging {
  // Fields, because the log manager would forget the levels with the loggers.
  private static final Logger LIBRARIES = Logger.getLogger("io.helidon");
  private static final Logger OURS = Logger.getLogger("dev.hyperfresh");

  private Logging() {}

  /// Sets the format and shows our own entries from `level` on.
  public static void plain(Level level) {
    System.setProperty(
        "java.util.logging.SimpleFormatter.format", "%1$tFT%1$tT.%1$tL %4$s %5$s%6$s%n");
    LIBRARIES.setLevel(Level.WARNING);
    OURS.setLevel(level);
  }
}
