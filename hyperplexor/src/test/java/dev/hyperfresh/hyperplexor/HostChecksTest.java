package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HostChecksTest {
  private static final Path FOLDER = Path.of("/var/lib/hyperfresh/guests/web1");

  @Test
  void aSecondHypervisorNeedsMemory() {
    assertPasses(HostChecks.memory(256L << 20));
    assertFails(HostChecks.memory((256L << 20) - 1), "has 255 MiB available");
  }

  @Test
  void memoryThatIsCopiedIsThereTwice() {
    assertPasses(HostChecks.copy(1L << 30, (1L << 30) + (256L << 20)));
    assertFails(
        HostChecks.copy(1L << 30, (1L << 30) + (256L << 20) - 1),
        "the host has 1279 MiB available");
  }

  @Test
  void filesMustBeLeftInTheDaemon() {
    assertPasses(HostChecks.openFiles(of(1024), of(960), List.of(1000L, 0L, 9000L)));
    assertFails(
        HostChecks.openFiles(of(1024), of(961), List.of(1000L, 0L, 9000L)), "961 of at most 1024");
    assertFails(
        HostChecks.openFiles(of(255), of(10), List.of(1000L, 0L, 9000L)), "10 of at most 255");
  }

  @Test
  void filesMustBeLeftOnTheHost() {
    assertPasses(HostChecks.openFiles(of(1024), of(10), List.of(1000L, 20L, 1300L)));
    assertFails(
        HostChecks.openFiles(of(1024), of(10), List.of(1000L, 19L, 1300L)), "only 319 more files");
  }

  @Test
  void limitsThatCannotBeReadAreUnknown() {
    assertThat(HostChecks.openFiles(OptionalLong.empty(), of(1), List.of(1L, 0L, 9L)).verdict())
        .isEqualTo(Verdict.UNKNOWN);
    assertThat(HostChecks.openFiles(of(1024), of(1), List.of()).verdict())
        .isEqualTo(Verdict.UNKNOWN);
    assertThat(HostChecks.mappings(of(65530), OptionalLong.empty()).verdict())
        .isEqualTo(Verdict.UNKNOWN);
    assertThat(HostChecks.commitment(true, "MemTotal: 1 kB\n", 0).verdict())
        .isEqualTo(Verdict.UNKNOWN);
    assertThat(HostChecks.stateDirectory(FOLDER, true, OptionalLong.empty()).verdict())
        .isEqualTo(Verdict.UNKNOWN);
  }

  @Test
  void theLimitIsReadFromProc() {
    String limits =
        """
        Limit                     Soft Limit           Hard Limit           Units
        Max processes             95863                95863                processes
        Max open files            1024                 1048576              files
        """;

    assertThat(HostChecks.limit(limits)).hasValue(1024);
    assertThat(HostChecks.limit(limits.replace("1024  ", "unlimited"))).hasValue(Long.MAX_VALUE);
    assertThat(HostChecks.limit("")).isEmpty();
  }

  @Test
  void mappingsMustBeLeft() {
    assertPasses(HostChecks.mappings(of(65530), of(300)));
    assertFails(HostChecks.mappings(of(1024), of(300)), "may have 1024");
  }

  @Test
  void withoutOvercommitMemoryMustBePromised() {
    String meminfo = "CommitLimit:     1000000 kB\nCommitted_AS:     %d kB\n";

    assertPasses(HostChecks.commitment(false, "", 0));
    assertPasses(HostChecks.commitment(true, meminfo.formatted(1_000_000 - (256 << 10)), 0));
    assertFails(
        HostChecks.commitment(true, meminfo.formatted(1_000_001 - (256 << 10)), 0),
        "255 MiB are left");
    assertPasses(
        HostChecks.commitment(true, meminfo.formatted(1_000_000 - (512 << 10)), 256L << 20));
    assertFails(
        HostChecks.commitment(true, meminfo.formatted(1_000_001 - (512 << 10)), 256L << 20),
        "511 MiB are left");
  }

  @Test
  void theStateDirectoryNeedsRoom() {
    assertPasses(HostChecks.stateDirectory(FOLDER, true, of(16L << 20)));
    assertFails(
        HostChecks.stateDirectory(FOLDER, true, of((16L << 20) - 1)), "15 MiB of free space");
    assertFails(HostChecks.stateDirectory(FOLDER, false, of(1L << 40)), "cannot be written");
  }

  @Test
  void thisHostCanBeRead(@TempDir Path folder) {
    List<Check> checks = HostChecks.now((int) ProcessHandle.current().pid(), folder, 0);

    assertThat(checks).noneMatch(check -> check.verdict() == Verdict.UNKNOWN);
    // The kernel's default is 65530, and nobody lowers it below what a JVM needs.
    assertThat(checks)
        .filteredOn(check -> check.name().equals("mappings"))
        .allMatch(check -> check.verdict() == Verdict.PASS);
  }

  private static OptionalLong of(long value) {
    return OptionalLong.of(value);
  }

  private static void assertPasses(Check check) {
    assertThat(check.verdict()).as(check.sentences()).isEqualTo(Verdict.PASS);
    assertThat(check.remedy()).isEmpty();
  }

  private static void assertFails(Check check, String finding) {
    assertThat(check.verdict()).as(check.sentences()).isEqualTo(Verdict.FAIL);
    assertThat(check.finding()).contains(finding);
    assertThat(check.remedy()).isNotEmpty();
  }
}
