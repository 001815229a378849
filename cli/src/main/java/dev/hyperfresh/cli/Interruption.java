package dev.hyperfresh.cli;

import java.util.concurrent.atomic.AtomicInteger;

/// Says when the command is interrupted that the daemon is not.
final class Interruption implements AutoCloseable {
  private static final AtomicInteger UNDER_WAY = new AtomicInteger();

  static {
    Runtime.getRuntime().addShutdownHook(new Thread(Interruption::say, "hf-interrupted"));
  }

  /// Work was given to the daemon, until this is closed.
  Interruption() {
    UNDER_WAY.incrementAndGet();
  }

  @Override
  public void close() {
    UNDER_WAY.decrementAndGet();
  }

  private static void say() {
    if (UNDER_WAY.get() > 0) {
      System.err.println(
          "hyperfresh: interrupted; the daemon continues what it has begun.\n"
              + "  `hyperfresh events` follows it, `hyperfresh history` shows how it ended.");
    }
  }
}
