package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Reattacher;
import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(30)
class GuestProcessesTest {
  private static final int USER = 1_999_000_001;

  /// Mounts a file system of its own over the folder that it is given, and has there what a
  /// hypervisor has.
  private static final String PRETENDING =
      """
      mount -t tmpfs none $1 && mkdir $1/g || exit 1
      exec >>$1/g/hypervisor-3.log 10>$1/memory
      eval "$2"
      echo ready >&2
      exec sleep 60
      """;

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
        assertThat(GuestProcesses.in(guests.resolve("other")).survivors()).isEmpty();
      } finally {
        end(hypervisor);
      }
    }
  }

  private static void assertFound(Path in, ChildProcess hypervisor) {
    assertThat(GuestProcesses.in(in).survivors()).containsExactly(survivor(in, hypervisor));
  }

  private static Reattacher.Survivor survivor(Path in, ChildProcess hypervisor) {
    return new Reattacher.Survivor(
        Qemu.KIND,
        hypervisor.pid(),
        in.resolve("g"),
        3,
        Host.processStart(hypervisor.pid()).orElseThrow());
  }

  /// In a mount namespace of one's own, a file can have any name, also that of a log that was
  /// removed.
  @ParameterizedTest
  @ValueSource(strings = {"", "rm $1/g/hypervisor-3.log;"})
  void aProcessThatSaysThatItPrintsIntoALogIsNoHypervisor(String then) throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    Files.createDirectory(guests.resolve("g"));
    Files.setPosixFilePermissions(guests, PosixFilePermissions.fromString("rwxr-xr-x"));
    List<String> command =
        List.of("unshare", "-Urm", "bash", "-c", PRETENDING, "sh", guests.toString(), then);
    Process pretender =
        new ProcessBuilder(Unprivileged.command(command, Map.of(), USER, OptionalInt.empty()))
            .start();
    try {
      String said = pretender.errorReader().readLine();
      if (!"ready".equals(said)) {
        System.out.println("skipped: no user namespaces here: " + said);
        Assumptions.abort();
      }
      Path output = Path.of("/proc/" + pretender.pid() + "/fd/1");
      // The shell has another output for the time of its own words.
      while (!Files.readSymbolicLink(output)
          .toString()
          .startsWith(guests.toRealPath() + "/g/hypervisor-3.log")) {
        Thread.sleep(20);
      }
      assertThat(GuestProcesses.in(guests).survivors()).isEmpty();
      Files.createFile(guests.resolve("g/hypervisor-3.log"));
      assertThat(GuestProcesses.in(guests).survivors()).isEmpty();
    } finally {
      pretender.destroyForcibly().waitFor();
    }
  }

  /// Its number may mean another process since it was found.
  @Test
  void aProcessThatWasStartedLaterIsNotEnded() throws IOException {
    Path log = Files.createDirectory(guests.resolve("g")).resolve("hypervisor-3.log");
    try (ChildProcess process = printingInto(log)) {
      Reattacher.Survivor now = survivor(guests, process);
      Reattacher.Survivor before =
          new Reattacher.Survivor(now.kind(), now.pid(), now.files(), 3, now.start() - 1);
      try {
        assertThatThrownBy(() -> new Qemu().end(before))
            .isInstanceOf(HyperFreshException.class)
            .hasMessageContaining("Process " + process.pid() + " has ended.");
        assertThat(process.waitFor(Duration.ofMillis(100))).isEmpty();
        new Qemu().end(now);
        assertThat(process.waitFor(Duration.ofSeconds(10))).isPresent();
      } finally {
        end(process);
      }
    }
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
