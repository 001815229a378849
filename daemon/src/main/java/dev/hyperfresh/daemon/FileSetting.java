package dev.hyperfresh.daemon;

import java.util.Locale;

/// A setting of a file that a person writes. The shipped file and its manual page are written from
/// tables of these.
public interface FileSetting {
  /// The name of the constant.
  String name();

  /// The key in the file.
  default String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /// What may stand there, such as `DIR`.
  String form();

  /// What holds for root when the file does not say anything.
  String example();

  /// What it means, in sentences.
  String meaning();
}
