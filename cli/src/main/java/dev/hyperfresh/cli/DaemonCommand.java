package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Level;
import java.util.logging.Logger;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/// `hyperfresh daemon`.
@Command(
    name = "daemon",
    description = "Run the daemon in the foreground until it is interrupted.",
    footer = {
      "",
      "Guests go on when the daemon ends; the next one on the same directory takes them back.",
      "",
      "Examples:",
      "  hyperfresh daemon",
      "  hyperfresh daemon --state /srv/hyperfresh"
    })
final class DaemonCommand implements Runnable {
  // A field, because the log manager would forget the level with the logger.
  private static final Logger LIBRARIES = Logger.getLogger("io.helidon");

  @Mixin private Options options = new Options();

  @Override
  public void run() {
    logPlainly();
    Daemon daemon = Daemon.start(DaemonConfig.under(options.state()));
    System.err.println("hyperfresh: serving on " + daemon.config().socket());
    CountDownLatch interrupted = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  daemon.close();
                  interrupted.countDown();
                },
                "hf-shutdown"));
    try {
      interrupted.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /// One line an entry on standard error, and of libraries only what they warn of.
  static void logPlainly() {
    System.setProperty(
        "java.util.logging.SimpleFormatter.format", "%1$tFT%1$tT.%1$tL %4$s %5$s%6$s%n");
    LIBRARIES.setLevel(Level.WARNING);
  }
}
