package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// A file that is too long holds more than one idea. One that is long for a good reason says so in
/// its first lines: `// Long: REASON`.
class SourceSizeTest {
  private static final Path ROOT = DocumentationTest.ROOT;
  private static final int JAVA_LINES = 500;
  private static final int C_LINES = 700;
  private static final int FIRST_LINES = 5;

  @Test
  void noSourceFileIsTooLong() throws IOException {
    Set<String> tooLong = new TreeSet<>();
    for (Path file : sources()) {
      List<String> lines = Files.readAllLines(file);
      if (lines.size() > limit(file) && !givesItsReason(lines)) {
        tooLong.add(ROOT.relativize(file) + " has " + lines.size() + " lines");
      }
    }
    assertThat(tooLong).isEmpty();
  }

  private static List<Path> sources() throws IOException {
    try (Stream<Path> modules = Files.list(ROOT)) {
      return modules
          .filter(module -> Files.exists(module.resolve("pom.xml")))
          .flatMap(SourceSizeTest::files)
          .filter(file -> limit(file) > 0)
          .toList();
    }
  }

  private static Stream<Path> files(Path module) {
    return Stream.of("src", "guests")
        .map(module::resolve)
        .filter(Files::isDirectory)
        .flatMap(folder -> {
          try (Stream<Path> found = Files.walk(folder)) {
            return found.filter(Files::isRegularFile).toList().stream();
          } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
          }
        });
  }

  /// 0 for what is no source.
  private static int limit(Path file) {
    String name = String.valueOf(file.getFileName());
    if (name.endsWith(".java")) {
      return JAVA_LINES;
    }
    return name.endsWith(".c") ? C_LINES : 0;
  }

  private static boolean givesItsReason(List<String> lines) {
    return lines.stream().limit(FIRST_LINES).anyMatch(line -> line.startsWith("// Long: "));
  }
}
