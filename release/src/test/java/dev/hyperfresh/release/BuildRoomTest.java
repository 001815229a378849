package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BuildRoomTest {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @TempDir Path folder;

  @Test
  void whatFailedIsSaidWithItsFirstErrors() {
    assertThat(
            BuildRoom.told(
                """
                step: compiling
                [1/9] Compiling C object a.o
                a.c:1:2: warning: this is no error_t
                FAILED: b.o
                  b.c:3:4: error: unknown type
                b.c:5:6: error: another
                c.c:7:8: error: a fourth
                ninja: build stopped
                """))
        .isEqualTo("FAILED: b.o; b.c:3:4: error: unknown type; b.c:5:6: error: another");
  }

  @Test
  void whatFailedWithoutAnErrorIsSaidWithItsLastLine() {
    assertThat(BuildRoom.told("one\ntwo\n\n")).isEqualTo("two");
    assertThat(BuildRoom.told("")).isEqualTo("no output");
  }

  /// A folder without a Debian is entered by nobody: nothing runs outside of it instead.
  @Test
  void nothingRunsOutsideOfTheRoom() throws Exception {
    BuildRoom room = new BuildRoom(Files.createDirectories(folder.resolve("work")));
    Files.createDirectories(room.root());
    Path mark = folder.resolve("mark");

    assertThatThrownBy(() ->
            room.run(
                List.of("/usr/bin/touch", mark.toString()),
                folder.resolve("build.log"),
                LIMIT,
                _ -> {}))
        .isInstanceOf(IOException.class);

    assertThat(mark).doesNotExist();
    assertThat(folder.resolve("build.log")).isNotEmptyFile();
  }
}
