package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import java.io.BufferedReader;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// `relocate.c` on this host: `drain_test.c` plays CRIU, with a file in place of another OS's
/// memory.
class DrainTest {
  private static final int PAGES = 4096;
  private static final int MUTANTS = 300;
  private static final int LIMIT_SECONDS = 120;
  private static final int HEADER_BYTES = 24;

  /// Of `enum outcome` in `relocate.c`.
  private static final int MALFORMED = 3;

  private static final int PAGE_MISSING = 6;
  private static final int RESTORE_FAILED = 7;
  private static final int LAST_OUTCOME = RESTORE_FAILED;

  @TempDir static Path programs;
  @TempDir Path folder;

  @BeforeAll
  static void compile() throws Exception {
    require(Host.effectiveUid() == 0, "page faults of other processes are handled by root alone");
    for (String name : List.of("/os/relocate.c", "/drain_test.c")) {
      Path source = programs.resolve(name.substring(name.lastIndexOf('/') + 1));
      try (InputStream in = DrainTest.class.getResourceAsStream(name)) {
        Files.write(source, in == null ? new byte[0] : in.readAllBytes());
      }
      String binary = source.toString().replaceFirst("\\.c$", "");
      Run compiled =
          run(
              programs,
              List.of("gcc", "-O2", "-std=c11", "-Wall", "-o", binary, source.toString()));
      require(compiled.code() == 0, "there is no C compiler here: " + compiled.said());
    }
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      System.out.println("skipped: " + otherwise);
      Assumptions.abort(otherwise);
    }
  }

  private record Run(int code, String said) {}

  private static Run run(Path where, List<String> command) throws Exception {
    Process process =
        new ProcessBuilder(command).directory(where.toFile()).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).as(command.toString()).isTrue();
    return new Run(process.exitValue(), said.strip());
  }

  /// Faults before and during the drain, pages without content, forks, memory that is given up,
  /// moved and unmapped, a process that ends: every page arrives, and every frame is freed once.
  @Test
  void everyPageArrivesWhateverProcessesDoMeanwhile() throws Exception {
    play();
  }

  private void play() throws Exception {
    Run run =
        run(
            folder,
            List.of(
                programs.resolve("drain_test").toString(),
                programs.resolve("relocate").toString(),
                folder.toString(),
                Integer.toString(PAGES)));
    assertThat(run.said()).endsWith("good");
    assertThat(run.code()).isZero();
  }

  /// A list of frames that is cut off, or claims what cannot be, is refused and nothing else
  /// happens.
  @Test
  void listsThatAreDamagedAreRefused() throws Exception {
    play();
    assertThat(read().code()).isEqualTo(RESTORE_FAILED);
    byte[] good = Files.readAllBytes(folder.resolve("pages"));
    Random random = new Random(20_261_127);
    List<String> crashed = new ArrayList<>();
    Set<Integer> outcomes = new TreeSet<>();
    for (int i = 0; i < MUTANTS; i++) {
      byte[] bad = good.clone();
      switch (i % 4) {
        case 0 -> bad = Arrays.copyOf(bad, random.nextInt(bad.length));
        case 1 -> bad[random.nextInt(HEADER_BYTES)] ^= (byte) (1 + random.nextInt(255));
        case 2 ->
            ByteBuffer.wrap(bad)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(HEADER_BYTES + random.nextInt(64) * 8, random.nextLong());
        default -> random.nextBytes(bad);
      }
      Files.write(folder.resolve("pages"), bad);
      Run run = read();
      outcomes.add(run.code());
      if (run.code() > LAST_OUTCOME) {
        crashed.add(String.format(Locale.ROOT, "%d: %d %s", i, run.code(), run.said()));
      }
    }
    assertThat(crashed).isEmpty();
    assertThat(outcomes).contains(MALFORMED, PAGE_MISSING);
  }

  /// Has the list read, and goes away then.
  ///
  /// @return [#RESTORE_FAILED] when nothing was wrong with it
  private Run read() throws Exception {
    Path socket = folder.resolve("lazy-pages.socket");
    Process process =
        new ProcessBuilder(
                programs.resolve("relocate").toString(),
                "drain",
                folder.toString(),
                folder.resolve("pages").toString(),
                folder.resolve("ram").toString(),
                Integer.toString(PAGES * 4096),
                "0",
                "-",
                "none")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    try (BufferedReader said = process.inputReader(StandardCharsets.UTF_8)) {
      assertThat(said.readLine()).isEqualTo("ready");
      SocketChannel.open(UnixDomainSocketAddress.of(socket)).close();
      try (OutputStream listed = process.getOutputStream()) {
        listed.write('\n');
      }
      String rest = said.lines().collect(Collectors.joining("\n"));
      assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
      return new Run(process.exitValue(), rest);
    } finally {
      process.destroyForcibly();
    }
  }

  @Test
  void wrongWordsAreAnsweredWithTheRightOnes() throws Exception {
    Run run = run(folder, List.of(programs.resolve("relocate").toString(), "drain"));
    assertThat(run.code()).isEqualTo(2);
    assertThat(run.said()).contains("usage: relocate pages CGROUP FILE");
  }
}
