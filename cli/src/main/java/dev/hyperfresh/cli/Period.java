package dev.hyperfresh.cli;

import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/// Lengths of time as people write them.
final class Period {
  private static final Pattern PERIOD = Pattern.compile("([0-9]{1,9})(ms|s|m|h)?");

  private Period() {}

  /// The time in a text such as `500ms`, `30s`, `10m` or `2h`; a bare number counts seconds.
  ///
  /// @throws ParameterException when it is not of that form
  static Duration parse(String text, CommandSpec spec) {
    Matcher time = PERIOD.matcher(text);
    if (!time.matches()) {
      throw new ParameterException(
          spec.commandLine(), "'" + text + "' is not a time such as 500ms, 30s, 10m or 2h.");
    }
    long count = Long.parseLong(time.group(1));
    return switch (time.group(2)) {
      case "ms" -> Duration.ofMillis(count);
      case "m" -> Duration.ofMinutes(count);
      case "h" -> Duration.ofHours(count);
      case null, default -> Duration.ofSeconds(count);
    };
  }
}
