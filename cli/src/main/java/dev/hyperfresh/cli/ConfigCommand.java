package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.daemon.Setting;
import dev.hyperfresh.daemon.Settings;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// `hyperfresh config …`: reads the daemon's configuration file, without a daemon.
@Command(
    name = "config",
    description = "The daemon's configuration file.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {ConfigCommand.Check.class, ConfigCommand.Show.class})
final class ConfigCommand {
  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private ConfigCommand() {}

  /// The file that a command reads.
  private static final class FileToRead {
    @Parameters(
        paramLabel = "FILE",
        arity = "0..1",
        description = "Default: /etc/hyperfresh/hyperfresh.yaml, or the user's own.")
    private @Nullable Path file;
  }

  @Command(
      name = "check",
      description = "Check the file as a whole; every fault is named.",
      footer = {
        "",
        "Nothing is changed. A running daemon reads the file when the next one takes over:",
        "  hyperfresh config check && systemctl reload hyperfresh",
        "",
        "Examples:",
        "  hyperfresh config check",
        "  hyperfresh config check new.yaml"
      })
  static final class Check implements Runnable {
    @Mixin private Options options = new Options();
    @Mixin private FileToRead file = new FileToRead();

    @Override
    public void run() {
      Settings settings = options.settings(file.file);
      DaemonConfig valid = settings.config();
      Map<String, Object> checked =
          Map.of(
              "file", settings.file().toString(),
              "present", settings.present(),
              "state", valid.state().toString());
      if (options.printed(checked)) {
        return;
      }
      System.out.println(
          settings.file()
              + (settings.present() ? " is valid." : " is not there; the defaults hold."));
    }
  }

  @Command(
      name = "show",
      description = "Show every setting, and where its value is from.",
      footer = {"", "Example:", "  hyperfresh config show"})
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();
    @Mixin private FileToRead file = new FileToRead();

    @Override
    public void run() {
      Settings settings = options.settings(file.file);
      Map<Setting, Value> values = values(settings, options.named().isPresent());
      Map<String, Object> shown = new LinkedHashMap<>();
      values.forEach((setting, value) -> shown.put(setting.key(), value));
      Map<String, Object> all = Map.of("file", settings.file().toString(), "settings", shown);
      if (options.printed(all)) {
        return;
      }
      Output.table(
          List.of("SETTING", "VALUE", "FROM"),
          values.entrySet().stream()
              .map(entry ->
                  List.of(entry.getKey().key(), entry.getValue().value(), entry.getValue().from()))
              .toList());
    }
  }

  /// @param from `default`, `option` or the file
  record Value(String value, String from) {}

  private static Map<Setting, Value> values(Settings settings, boolean stateIsOption) {
    DaemonConfig config = settings.config();
    Map<Setting, Value> values = new LinkedHashMap<>();
    for (Setting setting : Setting.values()) {
      values.put(
          setting,
          switch (setting) {
            case STATE ->
                stateIsOption
                    ? new Value(config.state().toString(), "option")
                    : value(config.state(), settings.state(), settings);
            case RELEASES -> value(config.releases(), settings.releases(), settings);
            case PACKAGES -> value(config.packages(), settings.packages(), settings);
            case STARTS -> value(config.startsAtOnce(), settings.starts(), settings);
            case LOG -> value(settings.verbosity().word(), settings.log(), settings);
          });
    }
    return values;
  }

  private static Value value(Object value, Optional<?> said, Settings settings) {
    return new Value(value.toString(), said.isPresent() ? settings.file().toString() : "default");
  }
}
