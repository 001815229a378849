package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Level;
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
  @Mixin private Options options = new Options();

  @Override
  public void run() {
    Logging.plain(Level.INFO);
    Daemon daemon = Daemon.start(DaemonConfig.under(options.state()));
    System.err.println("hyperfresh: serving on " + daemon.config().socket());
    CountDownLatch interrupted = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  daemon.letGo();
                  interrupted.countDown();
                },
                "hf-shutdown"));
    try {
      interrupted.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
