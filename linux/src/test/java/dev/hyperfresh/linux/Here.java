package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/// What the tests ask about the machine and the process they run on.
final class Here {
  private Here() {}

  /// Leaves a test out, with a line that says so, unless the host can run it.
  static void require(boolean possible, String otherwise) {
    if (!possible) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  static void requireRoot() {
    require(Host.effectiveUid() == 0, "needs root");
  }

  static void requireProgram(String name) {
    boolean found =
        Stream.of(System.getenv("PATH").split(":"))
            .anyMatch(folder -> Files.isExecutable(Path.of(folder, name)));
    require(found, "needs the program " + name);
  }

  /// The number of descriptors that this process has open.
  static long openDescriptors() {
    try (Stream<Path> entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  /// The number of mappings of this process whose file has this text in its name.
  static long mappingsOf(String name) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
      return lines.filter(line -> line.contains(name)).count();
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  /// Runs a program to its end and gives what it wrote; a failure fails the test.
  static String run(String... command) {
    try {
      Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
      String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw new AssertionError(List.of(command) + " failed: " + output);
      }
      return output;
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    } catch (InterruptedException interrupted) {
      throw new AssertionError(interrupted);
    }
  }
}
