package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.LogFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class LogTrimmerTest {
  private static final byte[] FLOOD = new byte[5 << 20];

  @TempDir Path state = Path.of("");
  private Path guest = Path.of("");

  @BeforeEach
  void folders() throws IOException {
    guest = Files.createDirectories(state.resolve("guests/web1"));
  }

  @Test
  void whatGrewWhileNoDaemonRanAndWhatGrowsNowIsTrimmed() throws Exception {
    Path console = Files.write(guest.resolve("console.log"), FLOOD);
    Path machine = Files.createDirectories(state.resolve("machines/m1")).resolve("hardware.log");
    Files.write(machine, FLOOD);
    Path system = Files.createDirectories(state.resolve("os/o1")).resolve("files.log");
    Files.write(system, FLOOD);
    Path handed = Files.createDirectories(state.resolve("handed/web2.8.7")).resolve("h.log");
    Files.write(handed, FLOOD);
    Path other = Files.write(guest.resolve("disk.raw"), FLOOD);
    Path outside = Files.write(state.resolve("journal.log"), FLOOD);
    Path linked = Files.createSymbolicLink(guest.resolve("a.log"), outside);
    try (LogTrimmer _ = LogTrimmer.start(state, () -> new LogTrimmer.Guests(Map.of(), Set.of()))) {
      await(() -> takes(console) && takes(machine) && takes(system) && takes(handed));
      Files.write(console, FLOOD, StandardOpenOption.APPEND);
      await(() -> takes(console));
    }
    assertThat(other).hasSize(FLOOD.length);
    assertThat(outside).hasSize(FLOOD.length);
    assertThat(linked).isSymbolicLink();
  }

  /// Its hypervisors must wait for nobody while it stands.
  @Test
  void theLogsOfAGuestThatIsBeingMovedAreLeftAlone() throws Exception {
    Path console = Files.write(guest.resolve("console.log"), FLOOD);
    Path handed = Files.createDirectories(state.resolve("handed/web1.8.7")).resolve("h.log");
    Files.write(handed, FLOOD);
    Path other = Files.createDirectories(state.resolve("guests/web2")).resolve("console.log");
    try (LogTrimmer _ =
        LogTrimmer.start(state, () -> new LogTrimmer.Guests(Map.of(), Set.of("web1")))) {
      for (int look = 0; look < 2; look++) {
        Files.write(other, FLOOD, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        await(() -> takes(other));
      }
    }
    assertThat(console).hasBinaryContent(FLOOD);
    assertThat(handed).as("its source, that was handed back before").hasBinaryContent(FLOOD);
  }

  @Test
  void logsOfHypervisorsThatAreLongGoneAreForgotten() throws Exception {
    for (int i = 1; i <= 50; i++) {
      Files.writeString(log(i), "started");
    }
    try (LogTrimmer _ =
        LogTrimmer.start(
            state, () -> new LogTrimmer.Guests(Map.of("web1", 3, "web2", 1), Set.of()))) {
      await(() -> Files.notExists(log(1)));
    }
    assertThat(log(3)).as("it runs the guest").exists();
    for (int i = 31; i <= 50; i++) {
      assertThat(log(i)).exists();
    }
    assertThat(log(30)).doesNotExist();
  }

  private Path log(int generation) {
    return guest.resolve("hypervisor-" + generation + ".log");
  }

  private static boolean takes(Path log) {
    return new LogFile(log).allocatedBytes() <= LogFile.MAX_BYTES;
  }

  private static void await(BooleanSupplier holds) {
    long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
    while (!holds.getAsBoolean()) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      LockSupport.parkNanos(Duration.ofMillis(20).toNanos());
    }
  }
}
