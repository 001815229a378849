package dev.hyperfresh.host;

import java.util.Locale;

/// One row of what the host can do. Immutable.
///
/// @param subject what was looked at, in a word or two
/// @param finding what was found, in sentences
/// @param remedy what to do, or empty when nothing needs doing
public record Finding(Verdict verdict, String subject, String finding, String remedy) {
  /// How good the news is.
  public enum Verdict {
    /// Works.
    OK,
    /// Works less well, or only for part of what is offered.
    LIMITED,
    /// Does not work.
    MISSING;

    /// The verdict in lower case, as tables and JSON show it.
    public String word() {
      return name().toLowerCase(Locale.ROOT);
    }
  }
}
