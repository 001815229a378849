package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.TimeSpan;
import java.time.Duration;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/// Lengths of time as people write them.
final class Period {
  private Period() {}

  /// The time in a text such as `500ms`, `30s`, `10m` or `2h`; a bare number counts seconds.
  ///
  /// @throws ParameterException when it is not of that form
  static Duration parse(String text, CommandSpec spec) {
    return TimeSpan.parse(text)
        .orElseThrow(() ->
            new ParameterException(
                spec.commandLine(), "'" + text + "' is not a time such as 500ms, 30s, 10m or 2h."));
  }
}
