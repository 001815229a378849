package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProcFsTest {
  private static final int ME = (int) ProcessHandle.current().pid();

  @Test
  void thisProcessIsOneOfThem() throws IOException {
    ProcFs proc = ProcFs.HOST;

    assertThat(proc.pids()).contains(ME).isSorted().doesNotContain(0);
    assertThat(proc.uid(ME)).hasValue(Host.effectiveUid());
    assertThat(proc.name(ME)).contains("java");
    assertThat(proc.start(ME)).isPresent();
    assertThat(proc.namespace(ME, "net").orElseThrow()).startsWith("net:[");
    Instant started = proc.startedAt(ME, proc.bootedAt()).orElseThrow();
    Instant known = ProcessHandle.current().info().startInstant().orElseThrow();
    assertThat(Duration.between(started, known).abs()).isLessThan(Duration.ofSeconds(2));
  }

  @Test
  void whatIsReadIsBounded() {
    assertThat(ProcFs.HOST.head(ME, "cmdline", 4).orElseThrow()).hasSize(4);
  }

  @Test
  void aProcessThatIsNotThereHasNothing(@TempDir Path root) throws IOException {
    ProcFs proc = new ProcFs(root);
    Files.createDirectories(root.resolve("12"));
    Files.writeString(root.resolve("12/stat"), "");

    assertThat(proc.pids()).containsExactly(12);
    for (int pid : new int[] {11, 12}) {
      assertThat(proc.start(pid)).isEmpty();
      assertThat(proc.startedAt(pid, Instant.EPOCH)).isEmpty();
      assertThat(proc.uid(pid)).isEmpty();
      assertThat(proc.name(pid)).isEmpty();
      assertThat(proc.namespace(pid, "net")).isEmpty();
      assertThat(proc.head(pid, "cmdline", 10)).isEmpty();
    }
  }

  /// The name of a program is between brackets and may have some itself.
  @Test
  void aNameCannotShiftTheFields(@TempDir Path root) throws IOException {
    Files.createDirectories(root.resolve("12"));
    Files.writeString(
        root.resolve("12/stat"), "12 (a) R 9 9 9) S 1" + " 0".repeat(17) + " 700 0\n");

    assertThat(new ProcFs(root).start(12)).hasValue(700);
    assertThat(new ProcFs(root).startedAt(12, Instant.EPOCH)).contains(Instant.ofEpochSecond(7));
  }
}
