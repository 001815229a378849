package dev.hyperfresh.qemu;

import java.util.Map;
import java.util.regex.Pattern;

/// One piece of a foreign command line: an option and what stands behind it.
///
/// @param value empty where the option has none
record ForeignPiece(ForeignOption option, String value) {
  private static final int EXCERPT = 100;

  /// What must not be seen in a message: the values of such keys, also in JSON and in the names of
  /// files of other protocols.
  private static final Pattern SECRET =
      Pattern.compile(
          "((?:^|[,:{ ])\"?(?:data|key|pass|passwd|password|secret)\"?[=:]\\s*\"?)[^,:\"}]++");

  private static final Pattern LOGIN = Pattern.compile("//[^/@,\"]++@");

  /// The piece as its owner wrote it, short enough for a sentence and printable.
  String text() {
    return excerpt(option.word() + (value.isEmpty() ? "" : " " + masked()));
  }

  private String masked() {
    String plain = SECRET.matcher(value).replaceAll("$1***");
    return LOGIN.matcher(plain).replaceAll("//***@");
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
