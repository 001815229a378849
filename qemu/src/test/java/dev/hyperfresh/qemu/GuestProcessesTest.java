package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.ChildProcess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class GuestProcessesTest {
  @TempDir Path guests;

  @Test
  void whatIsLeftOfARehearsalIsEndedAndNothingElse() throws IOException {
    Path files = Files.createDirectory(guests.resolve("g"));
    try (ChildProcess rehearsal = printingInto(files.resolve("rehearsal-17.log"));
        ChildProcess hypervisor = printingInto(files.resolve("hypervisor-1.log"));
        ChildProcess stranger = printingInto(guests.resolve("rehearsal-17.log"))) {
      try {
        new Qemu().endRehearsals(guests);

        assertThat(rehearsal.waitFor(Duration.ofSeconds(10))).isPresent();
        assertThat(hypervisor.waitFor(Duration.ZERO)).isEmpty();
        assertThat(stranger.waitFor(Duration.ZERO)).isEmpty();
        assertThat(files.resolve("rehearsal-17.log")).doesNotExist();
        assertThat(files.resolve("hypervisor-1.log")).exists();
      } finally {
        List.of(rehearsal, hypervisor, stranger).forEach(GuestProcessesTest::end);
      }
    }
  }

  private static ChildProcess printingInto(Path log) {
    return ChildProcess.spawn(
        new ChildProcess.Request(List.of("sleep", "60"), Map.of(), Map.of(), log, true));
  }

  private static void end(ChildProcess process) {
    process.kill();
    process.waitFor();
  }
}
