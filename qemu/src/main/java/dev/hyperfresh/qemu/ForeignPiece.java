package dev.hyperfresh.qemu;

import java.util.Map;

/// One piece of a foreign command line: an option and what stands behind it.
///
/// @param value empty where the option has none
record ForeignPiece(ForeignOption option, String value) {
  private static final int EXCERPT = 100;

  /// The piece as its owner wrote it, short enough for a sentence and printable.
  String text() {
    return excerpt(option.word() + (value.isEmpty() ? "" : " " + value));
  }

  /// Its pairs; none where the value cannot be read as such, which [ForeignVerdict#pairs] makes a
  /// reason of.
  ///
  /// @param implied as with [Suboptions#parse]
  Suboptions pairs(String implied) {
    try {
      return Suboptions.parse(value, implied);
    } catch (Suboptions.MalformedException e) {
      return none();
    }
  }

  static Suboptions none() {
    return new Suboptions(Map.of(), false);
  }

  /// What a text of unknown origin looks like in a sentence.
  static String excerpt(String text) {
    String clean = text.replaceAll("[^\\x20-\\x7e]", "?");
    return clean.length() <= EXCERPT ? clean : clean.substring(0, EXCERPT - 3) + "...";
  }
}
