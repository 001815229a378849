package dev.hyperfresh.cli;

import java.io.Console;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The terminal that the command was started on, if there is one.
final class Terminal {
  /// As wide as lines of help get, and what a terminal had when nobody knows better.
  private static final int HELP_COLUMNS = 80;

  private static final int WIDEST_HELP = 120;
  private static final Pattern SIZE = Pattern.compile("[0-9]+ ([0-9]+)\\s*");
  private static final Pattern COLUMNS = Pattern.compile("[1-9][0-9]{0,4}");

  private Terminal() {}

  /// Whether input and output are a terminal.
  // JDK 25 answers null again where standard input or output is not a terminal.
  @SuppressWarnings("SystemConsoleNull")
  static boolean isThere() {
    Console console = System.console();
    return console != null && console.isTerminal();
  }

  /// How many characters fit into a line; empty when the output is not a terminal, and when nobody
  /// knows.
  static OptionalInt width() {
    return width(isThere(), columns(), Terminal::ofDevice);
  }

  /// @param terminal whether the output is one
  /// @param columns what the environment says
  /// @param device what the terminal says
  static OptionalInt width(
      boolean terminal, Optional<String> columns, Supplier<OptionalInt> device) {
    if (!terminal) {
      return OptionalInt.empty();
    }
    OptionalInt told = number(columns);
    return told.isPresent() ? told : device.get();
  }

  /// How wide help is, also for a file.
  ///
  /// @param columns what the environment says
  static int helpWidth(Optional<String> columns) {
    // Below that the names of options would leave no room for what they mean.
    return Math.clamp(number(columns).orElse(HELP_COLUMNS), 60, WIDEST_HELP);
  }

  /// What the environment says of the width.
  static Optional<String> columns() {
    return Optional.ofNullable(System.getenv("COLUMNS"));
  }

  private static OptionalInt number(Optional<String> columns) {
    return columns.filter(text -> COLUMNS.matcher(text).matches()).stream()
        .mapToInt(Integer::parseInt)
        .findFirst();
  }

  /// The terminal's own tool says it: Java has no call for it.
  private static OptionalInt ofDevice() {
    try {
      Process stty =
          new ProcessBuilder("stty", "size")
              .redirectInput(ProcessBuilder.Redirect.INHERIT)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      String said = new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
      Matcher size = SIZE.matcher(said);
      return size.matches() ? number(Optional.of(size.group(1))) : OptionalInt.empty();
    } catch (IOException e) {
      // Without the tool the width is unknown, and nothing is cut.
      return OptionalInt.empty();
    }
  }
}
