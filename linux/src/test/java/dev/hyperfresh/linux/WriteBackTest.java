package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class WriteBackTest {
  /// Opens each of its arguments twice to write, and itself to read.
  private static final String PROGRAM =
      """
      import sys
      files = [open(name, 'a') for name in sys.argv[1:] * 2] + [open('/etc/passwd')]
      print('ready', flush=True)
      sys.stdin.readline()
      """;

  @TempDir Path folder;

  private Process process;

  @BeforeEach
  void start() throws IOException {
    process =
        new ProcessBuilder(
                List.of(
                    "python3",
                    "-c",
                    PROGRAM,
                    folder.resolve("one").toString(),
                    folder.resolve("two").toString()))
            .start();
    BufferedReader said = process.inputReader(StandardCharsets.US_ASCII);
    assertThat(said.readLine()).isEqualTo("ready");
  }

  @AfterEach
  void end() {
    process.destroyForcibly();
  }

  @Test
  void eachFileThatAProcessMayWriteIsThereOnce() throws IOException {
    List<Fd> files = WriteBack.files((int) process.pid());
    try {
      assertThat(files).hasSize(2);
    } finally {
      files.forEach(Fd::close);
    }
    assertThat(Files.size(folder.resolve("one"))).isZero();
  }

  @Test
  void itTakesNoLongerThanItMayAndLeavesNothingOpen() throws Exception {
    int pid = (int) process.pid();
    assertThat(WriteBack.of(pid, Duration.ofSeconds(20))).isTrue();
    long before = Here.openDescriptors();
    assertThat(WriteBack.of(pid, Duration.ofSeconds(20))).isTrue();
    assertThat(Here.openDescriptors()).isEqualTo(before);
    assertThat(WriteBack.of(pid, Duration.ZERO)).isFalse();
  }

  @Test
  void ofAProcessWithMoreFilesSomeAreTaken() throws IOException {
    String many =
        """
        import sys
        files = [open(sys.argv[1] + '/' + str(i), 'w') for i in range(500)]
        print('ready', flush=True)
        sys.stdin.readline()
        """;
    process.destroyForcibly();
    process = new ProcessBuilder("python3", "-c", many, folder.toString()).start();
    assertThat(process.inputReader(StandardCharsets.US_ASCII).readLine()).isEqualTo("ready");
    List<Fd> files = WriteBack.files((int) process.pid());
    try {
      assertThat(files).hasSize(64);
    } finally {
      files.forEach(Fd::close);
    }
  }

  /// The process never flushes, so what is there to flush afterwards is what was left.
  @Test
  void whatAProcessHasWrittenIsOnItsDiskAfterwards() throws Exception {
    Path file = folder.resolve("one");
    dirty(file);
    force(file);
    dirty(file);
    double all = force(file);
    dirty(file);
    assertThat(WriteBack.of((int) process.pid(), Duration.ofSeconds(20))).isTrue();
    double rest = force(file);
    System.out.printf(Locale.ROOT, "  to flush: %.1f ms, afterwards %.1f ms%n", all, rest);
    Here.require(all > 40, "this disk is too fast to tell");
    assertThat(rest).as("milliseconds, of " + all).isLessThan(all / 2);
  }

  private static void dirty(Path file) throws IOException {
    ByteBuffer chunk = ByteBuffer.allocateDirect(4 << 20);
    byte[] noise = new byte[chunk.capacity()];
    new Random(1).nextBytes(noise);
    chunk.put(noise);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      for (int i = 0; i < 64; i++) {
        channel.write(chunk.rewind(), (long) i * chunk.capacity());
      }
    }
  }

  /// How long it took, milliseconds.
  private static double force(Path file) throws IOException {
    long begun = System.nanoTime();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(false);
    }
    return (System.nanoTime() - begun) / 1e6;
  }

  @Test
  void aProcessThatHasEndedHasNothingToWrite() throws Exception {
    process.destroyForcibly().waitFor();
    assertThat(WriteBack.of((int) process.pid(), Duration.ofSeconds(20))).isTrue();
  }
}
