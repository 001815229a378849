package dev.hyperfresh.vm;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/// A line of the agent's protocol: fields separated by one blank, each percent-escaped, an empty
/// one written `%`. Texts are UTF-8; bytes that are not become replacement characters.
final class AgentLine {
  /// The longest line with its end, in both directions.
  static final int MAX_BYTES = 64 * 1024;

  private static final int MAX_FIELDS = 8192;
  private static final String DIGITS = "0123456789ABCDEF";

  private AgentLine() {}

  /// A line that is not of the protocol.
  static final class MalformedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    MalformedException(String message) {
      super(message);
    }
  }

  /// The line with its end.
  ///
  /// @throws IllegalArgumentException when it is too long, or a field holds a NUL
  static byte[] encode(List<String> fields) {
    ByteArrayOutputStream line = new ByteArrayOutputStream();
    for (String field : fields) {
      if (line.size() > 0) {
        line.write(' ');
      }
      escape(field, line);
    }
    line.write('\n');
    if (line.size() > MAX_BYTES) {
      throw new IllegalArgumentException(
          "the request has %d bytes and may have %d".formatted(line.size(), MAX_BYTES));
    }
    return line.toByteArray();
  }

  private static void escape(String field, ByteArrayOutputStream line) {
    if (field.isEmpty()) {
      line.write('%');
    }
    for (byte b : field.getBytes(StandardCharsets.UTF_8)) {
      int value = b & 0xff;
      if (value == 0) {
        throw new IllegalArgumentException("a NUL inside \"" + field.replace('\0', '?') + "\"");
      }
      if (value <= ' ' || value == 0x7f || value == '%') {
        line.write('%');
        line.write(DIGITS.charAt(value >> 4));
        line.write(DIGITS.charAt(value & 15));
      } else {
        line.write(value);
      }
    }
  }

  /// The fields of a line that is given without its end.
  ///
  /// @throws MalformedException when it is empty, has an empty field, or is escaped wrongly
  static List<String> decode(byte[] line, int length) {
    List<String> fields = new ArrayList<>();
    ByteArrayOutputStream field = new ByteArrayOutputStream();
    int start = 0;
    for (int at = 0; at <= length; at++) {
      if (at < length && line[at] != ' ') {
        continue;
      }
      if (at == start || fields.size() == MAX_FIELDS) {
        throw new MalformedException(
            at == start ? "an empty field at byte " + at : "more than " + MAX_FIELDS + " fields");
      }
      field.reset();
      unescape(line, start, at, field);
      fields.add(field.toString(StandardCharsets.UTF_8));
      start = at + 1;
    }
    return fields;
  }

  private static void unescape(byte[] line, int from, int to, ByteArrayOutputStream field) {
    if (to - from == 1 && line[from] == '%') {
      return;
    }
    for (int at = from; at < to; at++) {
      if (line[at] != '%') {
        field.write(line[at]);
        continue;
      }
      int high = at + 2 < to ? Character.digit(line[at + 1], 16) : -1;
      int low = at + 2 < to ? Character.digit(line[at + 2], 16) : -1;
      if (high < 0 || low < 0) {
        throw new MalformedException("no two digits follow the % at byte " + at);
      }
      field.write(high << 4 | low);
      at += 2;
    }
  }
}
