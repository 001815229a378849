package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Clock;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Locale;
import java.util.regex.Pattern;

/// The last messages of one control channel, kept in memory and written to a file when the channel
/// is done, so that the blackout never waits for a disk. Thread-safe.
final class Transcript {
  private static final int CAPACITY = 2000;

  /// Characters that are kept of all messages together: peers may be many.
  static final int MAX_CHARACTERS = 256 << 10;

  private static final System.Logger LOG = System.getLogger(Transcript.class.getName());

  /// Characters of a message that are kept.
  static final int MAX_LINE = 4000;

  /// A field of JSON and its text, in which a backslash quotes.
  private static final Pattern PASSWORD =
      Pattern.compile("(\"password\"\\s*+:\\s*+)\"[^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+\"");

  private record Line(long atNanos, char direction, String text) {}

  private final Deque<Line> lines = new ArrayDeque<>(CAPACITY);
  private final long start = Clock.monotonicNanos();
  private int characters;

  /// Passwords are left out.
  synchronized void sent(String text) {
    boolean secret = text.contains("\"set_password\"");
    add('>', secret ? PASSWORD.matcher(text).replaceAll("$1\"***\"") : text);
  }

  synchronized void received(String text) {
    add('<', text);
  }

  private void add(char direction, String text) {
    String kept = text.substring(0, Math.min(text.length(), MAX_LINE));
    characters += kept.length();
    lines.addLast(new Line(Clock.monotonicNanos() - start, direction, kept));
    while (lines.size() > CAPACITY || characters > MAX_CHARACTERS) {
      characters -= lines.removeFirst().text.length();
    }
  }

  /// Appends what is kept to `file` and forgets it. A file that cannot be written is logged and
  /// otherwise ignored: a full disk must not keep a guest from going on.
  synchronized void writeTo(Path file, String heading) {
    StringBuilder text = new StringBuilder("# ").append(heading).append('\n');
    for (Line line : lines) {
      text.append(String.format(Locale.ROOT, "%12.3f ms %c ", line.atNanos / 1e6, line.direction));
      text.append(line.text).append('\n');
    }
    lines.clear();
    characters = 0;
    try {
      Files.writeString(
          file, text, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      LOG.log(System.Logger.Level.WARNING, file + " cannot be written", e);
    }
  }
}
