package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ImageToolsTest {
  private static final Duration LONG = Duration.ofMinutes(10);
  private static final List<String> ENDLESS = List.of("sleep", "600");

  @TempDir Path folder = Path.of("");

  @BeforeEach
  void asRoot() {
    Assumptions.assumeTrue(Host.effectiveUid() == 0, "a network namespace needs root");
  }

  @Test
  void whatTakesTooLongIsKilled() {
    ImageTools tools = new ImageTools(folder, Duration.ofSeconds(1), 0);
    assertThatThrownBy(() -> tools.exitCode(ENDLESS))
        .isInstanceOf(ImageTools.BoundException.class)
        .hasMessageContaining("it takes longer than");
  }

  @Test
  void whatFillsTheDiskIsKilled() {
    ImageTools tools = new ImageTools(folder, LONG, Long.MAX_VALUE);
    assertThatThrownBy(() -> tools.exitCode(ENDLESS))
        .isInstanceOf(ImageTools.BoundException.class)
        .hasMessageContaining("free on the disk");
  }

  @Test
  void theEndOfWhatWasSaidIsTold() throws IOException {
    ImageTools tools = new ImageTools(folder, LONG, 0);
    assertThat(tools.exitCode(List.of("sh", "-c", "yes | head -c 100000; echo last; exit 3")))
        .isEqualTo(3);
    assertThat(tools.lastWords()).isEqualTo("last");
  }
}
