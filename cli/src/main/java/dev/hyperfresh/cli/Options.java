package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Settings;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// The options that every command has. They may stand before or after the command's name; the last
/// one counts.
public final class Options {
  /// The environment variable that names the daemon's directory where no option does.
  static final String STATE_VARIABLE = "HYPERFRESH_STATE";

  @Spec(Spec.Target.MIXEE)
  private CommandSpec command = CommandSpec.create();

  @Option(
      names = "--state",
      paramLabel = "DIR",
      description =
          "The daemon's directory (default: $HYPERFRESH_STATE, or that of the configuration file, or"
              + " /var/lib/hyperfresh for root, or ~/.local/state/hyperfresh).")
  private @Nullable Path state;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FORMAT",
      description = "How results are printed: ${COMPLETION-CANDIDATES} (default: table).")
  private @Nullable Format output;

  @Option(names = "--json", description = "The same as -o json.")
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

  /// What the configuration file says, for the daemon's directory that an option or the environment
  /// names, if one does.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException CONFIG_INVALID
  Settings settings() {
    return settings(null);
  }

  /// As [#settings()], of another configuration file.
  ///
  /// @param file null for the ordinary one
  Settings settings(@Nullable Path file) {
    Settings settings = file == null ? Settings.ordinary() : Settings.read(file.toAbsolutePath());
    return named().map(settings::withState).orElse(settings);
  }

  /// The daemon's directory, if an option or the environment names one.
  Optional<Path> named() {
    return nearest(command, options -> Optional.ofNullable(options.state))
        .or(Options::stateOfEnvironment)
        .map(Path::toAbsolutePath);
  }

  private static Optional<Path> stateOfEnvironment() {
    return Optional.ofNullable(System.getenv(STATE_VARIABLE))
        .filter(named -> !named.isBlank())
        .map(Path::of);
  }

  /// Whether JSON was asked for.
  public boolean json() {
    return format(command) == Format.json;
  }

  /// Prints a result for a program, if that was asked for.
  ///
  /// @return false when it is to be shown to a person instead
  boolean printed(Object result) {
    return format(command).print(result);
  }

  Client client() {
    return new Client(state());
  }

  /// How the results of a command are printed.
  static Format format(CommandSpec command) {
    return nearest(command, Options::asked)
        .orElseGet(() -> isJson(command) ? Format.json : Format.table);
  }

  /// Commands of other modules have an option of their own.
  private static boolean isJson(CommandSpec command) {
    return Optional.ofNullable(command.findOption("--json"))
        .map(option -> Boolean.TRUE.equals(option.getValue()))
        .orElse(false);
  }

  private Optional<Format> asked() {
    return Optional.ofNullable(output).or(() -> json ? Optional.of(Format.json) : Optional.empty());
  }

  /// What this command was given, or else those before its name.
  private static <T> Optional<T> nearest(
      CommandSpec command, Function<Options, Optional<T>> value) {
    return Stream.iterate(command, Objects::nonNull, CommandSpec::parent)
        .flatMap(spec -> spec.mixins().values().stream())
        .map(CommandSpec::userObject)
        .filter(Options.class::isInstance)
        .map(Options.class::cast)
        .map(value)
        .flatMap(Optional::stream)
        .findFirst();
  }
}
