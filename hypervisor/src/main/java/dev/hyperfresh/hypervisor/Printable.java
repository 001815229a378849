package dev.hyperfresh.hypervisor;

import java.util.regex.Pattern;

/// Text of unknown origin, such that a terminal and a log show it in one line and do nothing else:
/// a hypervisor that its guest has taken over says what it likes.
public final class Printable {
  /// Control, format and unassigned characters, and what breaks lines.
  private static final Pattern OTHERS = Pattern.compile("[\\p{C}\\p{Zl}\\p{Zp}]+");

  private static final Pattern IN_LINES = Pattern.compile("[\\p{C}\\p{Zl}\\p{Zp}&&[^\n]]+");

  private Printable() {}

  /// The text with a blank in the place of what cannot be printed.
  public static String of(String text) {
    return OTHERS.matcher(text).replaceAll(" ").strip();
  }

  /// As [#of], of a text that may have several lines.
  static String lines(String text) {
    return IN_LINES.matcher(text).replaceAll(" ").strip();
  }
}
