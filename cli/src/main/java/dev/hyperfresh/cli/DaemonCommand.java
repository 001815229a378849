package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import java.util.logging.Level;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/// `hyperfresh daemon`.
@Command(
    name = "daemon",
    description = "Run the daemon in the foreground until it is interrupted.",
    footer = {
      "",
      "Guests go on when the daemon ends; the next one on the same directory takes them back. What",
      "was under way when a daemon was killed is finished or undone by the next.",
      "",
      "With --upgrade the new daemon gets ready first. Then the running one takes no new work, waits",
      "for replacements in flight, hands its guests over and ends with 0. Until all is handed over it",
      "goes on if anything fails. Requests find no daemon only while the socket changes hands; a",
      "rollout in progress stops, and goes on when it is given again. Without a running daemon",
      "--upgrade just starts one.",
      "",
      "Examples:",
      "  hyperfresh daemon",
      "  hyperfresh daemon --state /srv/hyperfresh",
      "  hyperfresh daemon --upgrade                take over from the running daemon"
    })
final class DaemonCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Option(names = "--upgrade", description = "Take over from the daemon that runs.")
  private boolean upgrade;

  @Override
  public void run() {
    Logging.plain(Level.INFO);
    DaemonConfig config = DaemonConfig.under(options.state());
    Daemon daemon = upgrade ? Daemon.upgrade(config) : Daemon.start(config);
    System.err.println("hyperfresh: serving on " + daemon.config().socket());
    Runtime.getRuntime().addShutdownHook(new Thread(daemon::letGo, "hf-shutdown"));
    try {
      daemon.awaitEnd();
      System.err.println("hyperfresh: a newer daemon has taken over");
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
