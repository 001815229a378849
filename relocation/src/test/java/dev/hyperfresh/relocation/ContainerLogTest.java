package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// What `log.c` writes, and who reads it meanwhile.
class ContainerLogTest {
  private static final int LOG_BYTES = 10 << 20;
  private static final int LINE = 64;

  @TempDir static Path programs;
  @TempDir Path home;

  @BeforeAll
  static void compile() throws Exception {
    Words.compile("log", programs);
  }

  private Process writer() throws IOException {
    return new ProcessBuilder(programs.resolve("log").toString(), home.toString()).start();
  }

  private static byte[] lines(int from, int to) {
    StringBuilder text = new StringBuilder();
    for (int i = from; i < to; i++) {
      String number = Integer.toString(i);
      text.append(number).append(".".repeat(LINE - 1 - number.length())).append('\n');
    }
    return text.toString().getBytes(StandardCharsets.US_ASCII);
  }

  @Test
  void aLongLogIsTurnedAndBounded() throws Exception {
    Process log = writer();
    int all = 5 * LOG_BYTES / LINE;
    try (OutputStream out = log.getOutputStream()) {
      out.write(lines(0, all));
    }
    assertThat(log.waitFor()).isZero();
    long total = 0;
    for (String name : new String[] {"log", "log.1", "log.2"}) {
      assertThat(home.resolve(name)).exists();
      assertThat(Files.size(home.resolve(name))).isLessThanOrEqualTo(LOG_BYTES);
      total += Files.size(home.resolve(name));
    }
    assertThat(home.resolve("log.3")).doesNotExist();
    assertThat(total).isGreaterThan(2 * LOG_BYTES);
    assertThat(Files.readString(home.resolve("log")))
        .endsWith(new String(lines(all - 1, all), StandardCharsets.US_ASCII));
  }

  /// Somebody who follows it reads every byte once, also where it was turned.
  @Test
  void itIsFollowedPieceByPiece() throws Exception {
    ContainerLog read = new ContainerLog(home);
    ContainerLog.Piece piece = read.last();
    assertThat(piece.text()).isEmpty();
    Process log = writer();
    int all = (LOG_BYTES + LOG_BYTES / 2) / LINE;
    long seen = 0;
    StringBuilder rest = new StringBuilder();
    try (OutputStream out = log.getOutputStream()) {
      for (int i = 0; i < all; i += 1 << 14) {
        out.write(lines(i, Math.min(all, i + (1 << 14))));
        out.flush();
        piece = read.after(piece.next());
        rest.append(piece.text());
        seen = checked(rest, seen);
      }
    }
    assertThat(log.waitFor()).isZero();
    do {
      piece = read.after(piece.next());
      rest.append(piece.text());
      seen = checked(rest, seen);
    } while (!piece.text().isEmpty());
    assertThat(seen).isEqualTo(all);
    assertThat(home.resolve("log.1")).exists();
  }

  private static long checked(StringBuilder text, long seen) {
    int whole = text.length() / LINE;
    for (int i = 0; i < whole; i++) {
      assertThat(text.substring(i * LINE, i * LINE + LINE)).startsWith((seen + i) + ".");
    }
    text.delete(0, whole * LINE);
    return seen + whole;
  }

  @Test
  void aCharacterIsNotCutInTwo() throws Exception {
    byte[] bytes = "a€b𝄞".getBytes(StandardCharsets.UTF_8);
    StringBuilder text = new StringBuilder();
    ContainerLog read = new ContainerLog(home);
    Files.createFile(home.resolve("log"));
    String place = read.last().next();
    for (byte one : bytes) {
      Files.write(home.resolve("log"), new byte[] {one}, StandardOpenOption.APPEND);
      ContainerLog.Piece piece = read.after(place);
      text.append(piece.text());
      place = piece.next();
    }
    assertThat(text.toString()).isEqualTo("a€b𝄞");
  }

  @Test
  void nothingIsReadThroughALink() throws Exception {
    Path secret = Files.writeString(programs.resolve("secret"), "secret");
    Files.createSymbolicLink(home.resolve("log"), secret);
    assertThatThrownBy(() -> new ContainerLog(home).last())
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("not a regular file");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "1", "1:-1", "x:1", "1:1:1", "9999999999999999999:0"})
  void aWrongPlaceIsRefused(String place) {
    assertThatThrownBy(() -> new ContainerLog(home).after(place))
        .isInstanceOf(HyperFreshException.class);
  }

  @Test
  void whatIsUsedIsRead() {
    ContainerStats stats = ContainerStats.parse("memory 4096 max cpu_us 17 pids 2 100");
    assertThat(stats.memoryBytes()).isEqualTo(4096);
    assertThat(stats.memoryMaxBytes()).isEmpty();
    assertThat(stats.cpuMicros()).isEqualTo(17);
    assertThat(stats.pidsMax()).hasValue(100);
  }
}
