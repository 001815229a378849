package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StateFileTest {
  @TempDir Path folder;
  private Path file;

  record Content(String name, List<Path> paths, long number) {}

  private static final Content CONTENT =
      new Content("über \n#sum 0\n web", List.of(Path.of("/state/guests/über web")), 1L << 40);

  @BeforeEach
  void write() {
    file = StateFile.of(folder, "one");
    StateFile.write(file, CONTENT);
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    assertThat(StateFile.read(file, Content.class)).contains(CONTENT);
    assertThat(StateFile.names(folder)).containsExactly("one");
    assertThat(Files.getPosixFilePermissions(file))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    StateFile.remove(file);
    assertThat(StateFile.read(file, Content.class)).isEmpty();
    assertThat(StateFile.names(folder)).isEmpty();
  }

  @Test
  void everyHalfOfAFileIsRefused() throws IOException {
    byte[] whole = Files.readAllBytes(file);
    int line = Files.readAllLines(file).getFirst().getBytes(StandardCharsets.UTF_8).length;
    for (int length = 0; length < whole.length; length++) {
      if (length != line && length != line + 1) {
        assertRefused(Arrays.copyOf(whole, length));
      }
    }
  }

  @Test
  void whatAnOlderDaemonWroteIsReadWithoutItsSum() throws IOException {
    Files.writeString(file, Files.readAllLines(file).getFirst());
    assertThat(StateFile.read(file, Content.class)).contains(CONTENT);
    assertThatThrownBy(() -> StateFile.readWithSum(file, Content.class))
        .hasMessageContaining("it has no checksum");
  }

  @Test
  void everyChangedByteIsRefused() throws IOException {
    byte[] whole = Files.readAllBytes(file);
    Random random = new Random(1);
    for (int at = 0; at < whole.length; at++) {
      byte[] changed = whole.clone();
      changed[at] ^= (byte) (1 << random.nextInt(7));
      assertRefused(changed);
    }
  }

  @Test
  void whatIsKeptIsReadAndForgottenOnce() throws IOException {
    Path kept = Files.createDirectories(folder.resolve("new")).resolve("kept.json");

    StateFile.keep(kept, CONTENT);

    assertThat(StateFile.readWithSum(kept, Content.class)).contains(CONTENT);
    StateFile.forget(kept);
    StateFile.forget(kept);
    StateFile.forget(folder.resolve("none").resolve("kept.json"));
    assertThat(StateFile.read(kept, Content.class)).isEmpty();
  }

  private void assertRefused(byte[] content) throws IOException {
    Files.write(file, content);
    assertThatThrownBy(() -> StateFile.read(file, Content.class))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.DAEMON_STATE))
        .hasMessageContaining("one.json cannot be read");
  }
}
