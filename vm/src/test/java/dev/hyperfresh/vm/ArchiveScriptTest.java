package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Where an image's programs come from.
@Timeout(20)
class ArchiveScriptTest {
  private static final Path SCRIPT = Path.of("src/main/resources/image/archive.sh");

  @TempDir Path folder = Path.of("");

  private record Ran(int status, String said) {}

  /// Runs `order` where `compile` makes the programs `a` and `b`.
  private Ran run(String order) throws Exception {
    String script =
        """
        set -euo pipefail
        . '%s'
        fail() { echo "$*"; exit 1; }
        compile() { echo compiled a >"$work/a"; echo compiled b >"$work/b"; }
        %s
        """
            .formatted(SCRIPT.toAbsolutePath(), order);
    ProcessBuilder bash = new ProcessBuilder(List.of("bash", "-c", script));
    bash.environment().remove("HYPERFRESH_PROGRAMS");
    Process process = bash.directory(folder.toFile()).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return new Ran(process.waitFor(), said);
  }

  @Test
  void withoutOthersTheyAreCompiled() throws Exception {
    assertThat(run("work=$PWD; take_programs a b; cat a b"))
        .isEqualTo(new Ran(0, "compiled a\ncompiled b\n"));
  }

  @Test
  void thoseThatWereCompiledBeforeAreTaken() throws Exception {
    Path before = Files.createDirectory(folder.resolve("before"));
    Files.writeString(before.resolve("a"), "packaged a\n");
    Files.writeString(before.resolve("b"), "packaged b\n");

    assertThat(run("work=$PWD; HYPERFRESH_PROGRAMS=before take_programs a b; cat a b"))
        .isEqualTo(new Ran(0, "packaged a\npackaged b\n"));
    Files.delete(before.resolve("b"));
    assertThat(run("work=$PWD; export HYPERFRESH_PROGRAMS=before; take_programs a b").status())
        .isEqualTo(1);
  }

  @Test
  void theyAreCompiledAloneForAnotherHost() throws Exception {
    assertThat(run("require_compiler() { :; }; compile_programs out a b; cat out/a out/b"))
        .isEqualTo(new Ran(0, "compiled a\ncompiled b\n"));
    try (var left = Files.list(folder.resolve("out"))) {
      assertThat(left.map(file -> String.valueOf(file.getFileName())))
          .containsExactlyInAnyOrder("a", "b");
    }
  }
}
