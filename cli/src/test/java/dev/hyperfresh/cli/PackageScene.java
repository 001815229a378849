package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.io.TempDir;

/// Runs parts of the package in a folder.
abstract class PackageScene {
  static final Path PARTS = DocumentationTest.ROOT.resolve("setup/package");

  @TempDir Path folder = Path.of("");

  record Ran(int status, String said) {}

  Ran run(Map<String, String> environment, List<String> command) throws Exception {
    Path said = Files.createTempFile(folder, "said", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(said.toFile());
    builder.environment().putAll(environment);
    int status = builder.start().waitFor();
    return new Ran(status, Files.readString(said, StandardCharsets.UTF_8));
  }

  Ran run(String... command) throws Exception {
    return run(Map.of(), List.of(command));
  }

  /// A part of the package with other paths in it.
  Path adapted(String part, Map<String, Path> paths) throws IOException {
    String text = Files.readString(PARTS.resolve(part));
    for (Map.Entry<String, Path> path : paths.entrySet()) {
      assertThat(text).contains(path.getKey());
      text = text.replace(path.getKey(), path.getValue().toString());
    }
    Path copy = Files.writeString(folder.resolve(part), text);
    assertThat(copy.toFile().setExecutable(true)).isTrue();
    return copy;
  }

  void require(String program) throws Exception {
    if (run("sh", "-c", "command -v " + program).status() != 0) {
      System.out.println("skipped: " + program + " is not installed");
      Assumptions.abort();
    }
  }
}
