package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class UnprivilegedTest {
  @TempDir Path folder;

  @Test
  void theProgramHasNothingAndKeepsItsNumber() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    Process process =
        new ProcessBuilder(
                Unprivileged.command(
                    List.of("sh", "-c", "echo $$ $FOR_IT; cat /proc/self/status"),
                    Map.of("FOR_IT", "seen"),
                    2_000_065_000,
                    OptionalInt.of(2_000_065_001)))
            .start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

    assertThat(process.waitFor()).isZero();
    assertThat(said)
        .startsWith(process.pid() + " seen\n")
        .contains("Uid:\t2000065000\t2000065000\t2000065000\t2000065000\n")
        .contains("Gid:\t2000065000\t2000065000\t2000065000\t2000065000\n")
        .containsPattern("Groups:\t2000065001 ?\n")
        .contains("CapInh:\t0000000000000000\n")
        .contains("CapPrm:\t0000000000000000\n")
        .contains("CapEff:\t0000000000000000\n")
        .contains("CapBnd:\t0000000000000000\n")
        .contains("CapAmb:\t0000000000000000\n")
        .contains("NoNewPrivs:\t1\n");
  }

  @Test
  void theFirstClosedFolderIsNamed() throws Exception {
    Path inner = Files.createDirectories(folder.resolve("a/b"));
    Path file = Files.writeString(inner.resolve("f"), "x");
    mode(folder, "rwx--x--x");
    mode(folder.resolve("a"), "rwxr-x--x");
    mode(inner, "rwxr-xr-x");
    mode(file, "rw-r--r--");
    assertThat(Unprivileged.closedOn(file)).isEmpty();

    mode(file, "rw-r-----");
    assertThat(Unprivileged.closedOn(file)).contains(file);
    mode(file, "rw-r--r--");
    mode(folder.resolve("a"), "rwxrwx---");
    assertThat(Unprivileged.closedOn(file)).contains(folder.resolve("a"));
    Path link = Files.createSymbolicLink(folder.resolve("link"), file);
    assertThat(Unprivileged.closedOn(link)).contains(folder.resolve("a"));
    assertThat(Unprivileged.closedOn(folder.resolve("gone"))).contains(folder.resolve("gone"));
  }

  private static void mode(Path path, String mode) throws Exception {
    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
  }
}
