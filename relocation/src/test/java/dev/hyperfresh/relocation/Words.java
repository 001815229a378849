package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

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
    return OsRecipe.SOURCES.files().stream()
        .filter(file -> file.startsWith("/os/") && file.matches(".*\\.[ch]"))
        .filter(file -> !others.contains(file.replaceAll(".*/|\\.[ch]", "")))
        .toList();
  }

  /// Compiles a program of one file into `folder`. Aborts the test where there is no C compiler.
  static void compile(String program, Path folder) throws IOException, InterruptedException {
    Files.writeString(folder.resolve(program + ".c"), resource("/os/" + program + ".c"));
    Process gcc;
    try {
      gcc =
          new ProcessBuilder(
                  "gcc",
                  "-std=c11",
                  "-O2",
                  "-Wall",
                  "-Wextra",
                  "-Werror",
                  "-o",
                  program,
                  program + ".c")
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .start();
    } catch (IOException e) {
      Assumptions.abort("there is no C compiler here: " + e.getMessage());
      return;
    }
    String said = new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(gcc.waitFor()).as(said).isZero();
  }

  /// What the first group of `pattern` finds.
  static SortedSet<String> in(String text, String pattern) {
    SortedSet<String> found = new TreeSet<>();
    Pattern.compile(pattern).matcher(text).results().forEach(match -> found.add(match.group(1)));
    return found;
  }
}
