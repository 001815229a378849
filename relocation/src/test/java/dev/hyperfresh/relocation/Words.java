package dev.hyperfresh.relocation;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Pattern;

/// What the sources of the inside of an OS say, for tests.
final class Words {
  private Words() {}

  static String resource(String name) throws IOException {
    try (InputStream in = Words.class.getResourceAsStream(name)) {
      if (in == null) {
        throw new IOException("there is no " + name);
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  /// All that the program `relocate` is compiled from; other programs are one file each.
  static List<String> relocateSources() throws IOException {
    List<String> others =
        List.of(in(resource("/os/build.sh"), "for program in ([a-z ]+);").first().split(" "));
    return OsReleases.SOURCES.files().stream()
        .filter(file -> file.startsWith("/os/") && file.matches(".*\\.[ch]"))
        .filter(file -> !others.contains(file.replaceAll(".*/|\\.[ch]", "")))
        .toList();
  }

  /// What the first group of `pattern` finds.
  static SortedSet<String> in(String text, String pattern) {
    SortedSet<String> found = new TreeSet<>();
    Pattern.compile(pattern).matcher(text).results().forEach(match -> found.add(match.group(1)));
    return found;
  }
}
