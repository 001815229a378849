package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Settings;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/// The options that every command has.
public final class Options {
  @Option(
      names = "--state",
      paramLabel = "DIR",
      description =
          "The daemon's directory (default: that of the configuration file, or else"
              + " /var/lib/hyperfresh, or ~/.local/state/hyperfresh for users other than root).")
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

  /// The daemon's directory: the one that was named, or else that of the configuration file.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException CONFIG_INVALID
  public Path state() {
    return named().orElseGet(() -> Settings.ordinary().stateDirectory());
  }

  /// The daemon's directory, if one was named.
  Optional<Path> named() {
    return Optional.ofNullable(state).map(Path::toAbsolutePath);
  }

  /// Whether JSON was asked for.
  public boolean json() {
    return json;
  }

  Client client() {
    return new Client(state());
  }
}
