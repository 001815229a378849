package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.daemon.Settings;
import java.nio.file.Path;
import java.util.logging.Level;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/// `hyperfresh daemon`.
@Command(
    name = "daemon",
    description = "Run the daemon in the foreground until it is interrupted.",
    footer = {
      "",
      "Guests keep running when the daemon ends; the next daemon on the same directory reattaches",
      "them. If a daemon is killed, the next one finishes or undoes what was under way.",
      "",
      "With --upgrade the new daemon gets ready first. Then the running daemon accepts no new",
      "work, waits for replacements in flight, hands its guests over and ends with 0. If anything",
      "fails before everything is handed over, it continues. Requests find no daemon only while",
      "the socket changes hands. A rollout in progress stops; give it again to continue it.",
      "Without a running daemon, --upgrade just starts one.",
      "",
      "Options override the configuration file; `hyperfresh config show` shows what holds.",
      "",
      "Examples:",
      "  hyperfresh daemon",
      "  hyperfresh daemon --state /srv/hyperfresh",
      "  hyperfresh daemon --upgrade                take over from the running daemon",
      "  hyperfresh daemon --starts 2               after a boot, start two guests at a time"
    })
final class DaemonCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Option(names = "--upgrade", description = "Take over from the running daemon.")
  private boolean upgrade;

  @Option(
      names = "--starts",
      paramLabel = "N",
      description =
          "How many guests start at once after a boot of the host, 1 to 64 (default: as many as"
              + " the host has cores, 2 to 16).")
  private @Nullable Integer starts;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description =
          "The configuration file (default: /etc/hyperfresh/hyperfresh.yaml, or"
              + " ~/.config/hyperfresh/hyperfresh.yaml for users other than root).")
  private @Nullable Path file;

  @Option(
      names = "--log",
      paramLabel = "LEVEL",
      description = "What is logged: debug, info or warning (default: info).")
  private @Nullable String log;

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  @Override
  public void run() {
    Settings settings = options.settings(file);
    Logging.plain(level(log == null ? settings.verbosity() : verbosity(log)));
    if (options.named().isEmpty()) {
      settings.requireStateDirectory();
    }
    DaemonConfig config = starting(settings.config());
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

  private DaemonConfig starting(DaemonConfig config) {
    if (starts == null) {
      return config;
    }
    if (starts < 1 || starts > DaemonConfig.MOST_STARTS) {
      throw new ParameterException(
          spec.commandLine(),
          "--starts: " + starts + " is not between 1 and " + DaemonConfig.MOST_STARTS);
    }
    return config.starting(starts);
  }

  private Settings.Verbosity verbosity(String word) {
    return Settings.Verbosity.of(word)
        .orElseThrow(() ->
            new ParameterException(
                spec.commandLine(), "'" + word + "' is not one of debug, info, warning."));
  }

  private static Level level(Settings.Verbosity wanted) {
    return switch (wanted) {
      case DEBUG -> Level.FINE;
      case INFO -> Level.INFO;
      case WARNING -> Level.WARNING;
    };
  }
}
