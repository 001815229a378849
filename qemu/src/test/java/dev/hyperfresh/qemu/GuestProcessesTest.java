package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.MemFd;
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

  /// The state directory may be named by a link, and a log may be removed.
  @Test
  void aHypervisorIsFoundByWhateverNameItsFolderHas() throws IOException {
    Path real = Files.createDirectories(guests.resolve("real/guests"));
    Path log = Files.createDirectory(real.resolve("g")).resolve("hypervisor-3.log");
    Path link = Files.createSymbolicLink(guests.resolve("link"), real.getParent());
    try (MemFd memory = MemFd.create("test", 1 << 20);
        ChildProcess hypervisor = printingInto(log, Map.of(Descriptors.MEMORY, memory.fd()))) {
      try {
        assertFound(real, hypervisor);
        assertFound(link.resolve("guests"), hypervisor);
        Files.delete(log);
        assertFound(link.resolve("guests"), hypervisor);
        assertThat(GuestProcesses.under(guests.resolve("other"))).isEmpty();
      } finally {
        end(hypervisor);
      }
    }
  }

  private static void assertFound(Path in, ChildProcess hypervisor) {
    assertThat(GuestProcesses.under(in))
        .containsExactly(new Reattacher.Survivor(Qemu.KIND, hypervisor.pid(), in.resolve("g"), 3));
  }

  private static ChildProcess printingInto(Path log) {
    return printingInto(log, Map.of());
  }

  private static ChildProcess printingInto(Path log, Map<Integer, Fd> descriptors) {
    return ChildProcess.spawn(
        new ChildProcess.Request(List.of("sleep", "60"), Map.of(), descriptors, log, true));
  }

  private static void end(ChildProcess process) {
    process.kill();
    process.waitFor();
  }
}
