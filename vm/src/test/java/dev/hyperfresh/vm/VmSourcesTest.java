package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/// A file of the agent that is forgotten in a list would be missing in the image, or in its digest.
class VmSourcesTest {
  private static final Path FOLDER = Path.of("src/main/resources/agent");
  private static final Pattern PARTS = Pattern.compile("\nagent=\\(([^)]*)\\)");

  @Test
  void everySourceOfTheAgentIsListed() throws IOException {
    List<String> present;
    try (Stream<Path> files = Files.list(FOLDER)) {
      present = files.map(file -> "/agent/" + file.getFileName()).toList();
    }
    assertThat(VmSources.AGENT).containsExactlyInAnyOrderElementsOf(present);
  }

  @Test
  void everyPartOfTheAgentIsCompiled() throws IOException {
    Matcher parts = PARTS.matcher(Files.readString(FOLDER.resolve("agent.sh")));
    assertThat(parts.find()).isTrue();
    assertThat(Arrays.stream(parts.group(1).strip().split("\\s+")).map(part -> "/agent/" + part))
        .containsExactlyInAnyOrderElementsOf(
            VmSources.AGENT.stream().filter(file -> file.endsWith(".c")).toList());
  }

  /// They are copied into one folder.
  @Test
  void noTwoSourcesHaveOneName() {
    assertThat(VmSources.with(List.of("/image/build.sh")).files().stream().map(Path::of))
        .extracting(Path::getFileName)
        .doesNotHaveDuplicates();
  }
}
