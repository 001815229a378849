package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TranscriptTest {
  @TempDir Path folder;

  @Test
  void aPeerThatFloodsIsKeptInPart() throws Exception {
    Path file = folder.resolve("qmp.log");
    Transcript transcript = new Transcript();
    for (int i = 0; i < 1_000; i++) {
      transcript.received("x".repeat(5000));
    }
    transcript.received("the last");

    transcript.writeTo(file, "a flood");

    assertThat(Files.size(file)).isLessThan(2 * Transcript.MAX_CHARACTERS);
    assertThat(Files.readAllLines(file).getLast()).endsWith("< the last");
  }

  @Test
  void aPasswordIsNotKept() throws Exception {
    Path file = folder.resolve("qmp.log");
    Transcript transcript = new Transcript();
    transcript.sent(
        "{\"execute\":\"set_password\",\"arguments\":{\"protocol\":\"vnc\",\"password\":\"s\\\"cr\\\\t\","
            + "\"connected\":\"keep\"},\"id\":\"7\"}");
    transcript.writeTo(file, "one");

    assertThat(Files.readString(file))
        .contains("\"password\":\"***\",\"connected\":\"keep\"},\"id\":\"7\"")
        .doesNotContain("cr");
  }

  @Test
  void whatWasWrittenIsForgotten() throws Exception {
    Path file = folder.resolve("qmp.log");
    Transcript transcript = new Transcript();
    transcript.sent("one");
    transcript.writeTo(file, "first");
    transcript.received("y".repeat(Transcript.MAX_LINE));
    transcript.writeTo(file, "second");

    assertThat(Files.readString(file)).containsOnlyOnce("one").contains("# first", "# second");
  }
}
