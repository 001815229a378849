package dev.hyperfresh.release;

import java.math.BigInteger;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The version of a Debian package, such as `1:10.0.2+ds-2+deb13u1`: an epoch and a colon where
/// there is one, the version of what is packaged, and behind the last hyphen the packaging
/// revision.
///
/// They are ordered as dpkg orders them (deb-version(7); Debian Policy 5.6.12): the epochs as
/// numbers, then the versions, then the revisions. In a part, text and numbers alternate. In text
/// letters come before other characters, and `~` before everything, also before the end. Two
/// versions may be equal in order and differ as texts (`1.0` and `1.00`).
///
/// @param text as the package has it
public record DebianVersion(String text) implements Comparable<DebianVersion> {
  private static final int LONGEST = 128;
  private static final Pattern FORM =
      Pattern.compile(
          "(?:(?<epoch>[0-9]{1,9}):)?(?<upstream>[0-9][0-9A-Za-z.+~:-]*?)(?<!-)"
              + "(?:-(?<revision>[0-9A-Za-z.+~]+))?");

  /// @throws IllegalArgumentException when it is no such version, or longer than 128 characters
  public DebianVersion {
    if (text.length() > LONGEST || !FORM.matcher(text).matches()) {
      throw new IllegalArgumentException("'" + text + "' is no version of a Debian package");
    }
  }

  /// The version that `text` is, or empty when it is none.
  public static Optional<DebianVersion> parse(String text) {
    return text.length() <= LONGEST && FORM.matcher(text).matches()
        ? Optional.of(new DebianVersion(text))
        : Optional.empty();
  }

  private String part(String name) {
    Matcher form = FORM.matcher(text);
    String part = form.matches() ? form.group(name) : null;
    return part == null ? "" : part;
  }

  /// Of what is packaged, such as `10.0.2+ds`.
  public String upstream() {
    return part("upstream");
  }

  /// As [#upstream], without what the packaging adds to it: `10.0.2` of `10.0.2+ds`.
  public String version() {
    return upstream().replaceFirst("[^0-9.].*", "");
  }

  /// Of the package, such as `2+deb13u1`; empty when it has none.
  public String revision() {
    return part("revision");
  }

  @Override
  public int compareTo(DebianVersion other) {
    int epochs = compareParts(part("epoch"), other.part("epoch"));
    if (epochs != 0) {
      return epochs;
    }
    int upstreams = compareParts(upstream(), other.upstream());
    return upstreams != 0 ? upstreams : compareParts(revision(), other.revision());
  }

  private static int compareParts(String one, String other) {
    int i = 0;
    int j = 0;
    while (i < one.length() || j < other.length()) {
      while (isText(one, i) || isText(other, j)) {
        int texts = Integer.compare(order(one, i), order(other, j));
        if (texts != 0) {
          return texts;
        }
        i++;
        j++;
      }
      int end = endOfNumber(one, i);
      int otherEnd = endOfNumber(other, j);
      int numbers = number(one, i, end).compareTo(number(other, j, otherEnd));
      if (numbers != 0) {
        return numbers;
      }
      i = end;
      j = otherEnd;
    }
    return 0;
  }

  private static boolean isText(String part, int at) {
    return at < part.length() && !isDigit(part.charAt(at));
  }

  private static boolean isDigit(char c) {
    return c >= '0' && c <= '9';
  }

  /// Of a character among texts; the end and the beginning of a number are one.
  private static int order(String part, int at) {
    if (!isText(part, at)) {
      return 0;
    }
    char c = part.charAt(at);
    if (c == '~') {
      return -1;
    }
    return Character.isLetter(c) ? c : c + 256;
  }

  private static int endOfNumber(String part, int from) {
    int end = from;
    while (end < part.length() && isDigit(part.charAt(end))) {
      end++;
    }
    return end;
  }

  private static BigInteger number(String part, int from, int end) {
    return new BigInteger("0" + part.substring(Math.min(from, end), end));
  }

  @Override
  public String toString() {
    return text;
  }
}
