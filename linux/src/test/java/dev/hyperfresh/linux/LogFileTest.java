package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class LogFileTest {
  private static final String FIRST = "the first line\n";
  private static final String LAST = "the last line\n";

  private static final String LEASE =
      """
      import fcntl, signal, sys, time
      signal.signal(signal.SIGIO, signal.SIG_IGN)
      log = open(sys.argv[1], 'rb')
      fcntl.fcntl(log, fcntl.F_SETLEASE, fcntl.F_RDLCK)
      print('leased', flush=True)
      time.sleep(60)
      """;

  @TempDir Path folder;

  /// A file system that can close the gap, if this one can, and one that cannot.
  static Stream<Path> folders() throws IOException {
    return Stream.of(
        Files.createTempDirectory("hf-log"),
        Files.createTempDirectory(Path.of("/dev/shm"), "hf-log"));
  }

  @ParameterizedTest
  @MethodSource("folders")
  void aWriterThatNeverStopsFillsNoDisk(Path where) throws Exception {
    Path path = where.resolve("flooded.log");
    byte[] flood = ("x".repeat(1023) + "\n").repeat(3 << 10).getBytes(StandardCharsets.US_ASCII);
    try (OutputStream writer =
        Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
      writer.write(FIRST.getBytes(StandardCharsets.US_ASCII));
      LogFile log = new LogFile(path);
      for (int i = 0; i < 5; i++) {
        writer.write(flood);
        assertThat(log.cut()).isTrue();
        assertThat(log.allocatedBytes()).isLessThanOrEqualTo(LogFile.MAX_BYTES);
        assertThat(log.cut()).as("nothing is left to cut").isFalse();
      }
      writer.write(LAST.getBytes(StandardCharsets.US_ASCII));

      LogFile.Excerpt excerpt = log.excerpt();
      assertThat(excerpt.whole()).isFalse();
      assertThat(excerpt.text()).startsWith(FIRST).contains(LogFile.CUT).endsWith(LAST);
      assertThat(excerpt.text().length())
          .isLessThanOrEqualTo(LogFile.HEAD_BYTES + 1 + LogFile.TAIL_BYTES);
      assertThat(log.lastLines().getLast()).isEqualTo("the last line");
    } finally {
      Files.delete(path);
      Files.delete(where);
    }
  }

  /// Who owns a log can have a lease on it, and each opening then waits for its end, 45 s long.
  @Test
  @Timeout(20)
  void aLogOnWhichItsOwnerHasALeaseIsCutLater() throws Exception {
    Here.requireProgram("python3");
    Path path = Files.writeString(folder.resolve("leased.log"), "x".repeat(3 << 20));
    LogFile log = new LogFile(path);
    Process owner =
        new ProcessBuilder("python3", "-c", LEASE, path.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try {
      assertThat(owner.inputReader().readLine()).isEqualTo("leased");
      assertThat(log.cut()).isFalse();
      assertThat(Files.size(path)).isEqualTo(3 << 20);
    } finally {
      owner.destroyForcibly().waitFor();
    }
    assertThat(log.cut()).isTrue();
  }

  @Test
  void anOrdinaryLogIsLeftAsItIs() throws Exception {
    Path path = Files.writeString(folder.resolve("small.log"), FIRST + LAST);
    LogFile log = new LogFile(path);

    assertThat(log.cut()).isFalse();
    assertThat(path).hasContent(FIRST + LAST);
    assertThat(log.excerpt()).isEqualTo(new LogFile.Excerpt(FIRST + LAST, true));
  }

  @Test
  void aLogOfTerabytesIsReadInPartsOfIt() throws Exception {
    Path path = Files.writeString(folder.resolve("huge.log"), FIRST);
    try (var file = Files.newByteChannel(path, StandardOpenOption.WRITE)) {
      file.position(1L << 42);
      file.write(StandardCharsets.US_ASCII.encode("\n" + LAST));
    }
    LogFile log = new LogFile(path);

    assertThat(log.excerpt().text()).startsWith(FIRST).endsWith(LAST);
    assertThat(log.excerpt().whole()).isFalse();
    assertThat(log.lastLines()).containsExactly("the last line");
    assertThat(log.cut()).as("it takes no room").isFalse();
  }

  @Test
  void aLineWithoutAnEndIsShownInPart() throws Exception {
    Path path = Files.writeString(folder.resolve("long.log"), FIRST + "y".repeat(200_000));

    assertThat(new LogFile(path).lastLines())
        .isEqualTo(List.of("y".repeat(LogFile.MAX_LINE) + "…"));
  }

  @Test
  void aFileThatHasBecomeTooLargeIsNotRead() throws Exception {
    Path path = Files.writeString(folder.resolve("state"), "12345");

    assertThat(BoundedFile.read(path, 5)).hasSize(5);
    assertThatThrownBy(() -> BoundedFile.read(path, 4))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("state has more than 4 bytes");
    assertThat(BoundedFile.read(Path.of("/proc/self/stat"), 4096)).isNotEmpty();
  }
}
