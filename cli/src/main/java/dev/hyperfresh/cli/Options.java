package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.DaemonConfig;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// The options that every command has.
public final class Options {
  @Option(
      names = "--state",
      paramLabel = "DIR",
      description =
          "The daemon's directory (default: /var/lib/hyperfresh, or ~/.local/state/hyperfresh for"
              + " users other than root).")
  private @Nullable Path state;

  @Option(names = "--json", description = "Answer with JSON on standard output.")
  private boolean json;

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "Show this help and exit.")
  private boolean help;

  /// For picocli.
  public Options() {}

  /// The daemon's directory.
  public Path state() {
    return state == null ? DaemonConfig.defaultState() : state.toAbsolutePath();
  }

  /// Whether JSON was asked for.
  public boolean json() {
    return json;
  }

  Client client() {
    return new Client(state());
  }
}
