package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.host.RunningProgram.Standing;
import dev.hyperfresh.linux.ProcFs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Processes beside what is installed: fabricated ones, and one that runs.
class RunningProgramsTest {
  private static final String MARK = "QEMU emulator version ";
  private static final String OLD = MARK + "7.2.21";
  private static final String NEW = MARK + "7.2.22";
  private static final Duration A_SECOND = Duration.ofSeconds(1);

  @TempDir Path folder;
  private Path binary;
  private FakeProc proc;

  @BeforeEach
  void prepare() throws IOException {
    binary = folder.resolve("usr/bin/qemu-system-x86_64");
    proc = FakeProc.in(folder);
  }

  @Test
  void aProgramThatIsInPlaceIsCurrent() throws IOException {
    TestElf.write(binary, "aa", OLD);
    proc.process(4711, binary, "kvm", "-name", "web1", "");

    RunningProgram found = only();
    assertThat(found.pid()).isEqualTo(4711);
    assertThat(found.uid()).isEqualTo(1001);
    assertThat(found.program()).isEqualTo(binary);
    assertThat(found.arguments()).containsExactly("kvm", "-name", "web1", "");
    assertThat(found.whole()).isTrue();
    assertThat(found.group()).isEqualTo("0::/user.slice\n");
    assertThat(found.startedAt()).isEqualTo(FakeProc.BOOT.plusSeconds(5));
    assertThat(found.standing()).isEqualTo(Standing.CURRENT);
    assertThat(found.isReplaced()).isFalse();
    assertThat(found.running().orElseThrow().text()).isEqualTo(OLD);
    assertThat(found.running().orElseThrow().buildId()).isEqualTo("aa");
  }

  @Test
  void anotherBuildInItsPlaceMakesItOutdated() throws IOException {
    Instant before = Instant.now().minusSeconds(2);
    TestElf.write(deleted(), "aa", OLD);
    TestElf.write(binary, "bb", NEW);
    proc.process(4711, deleted(), "qemu");

    RunningProgram found = only();
    assertThat(found.program()).isEqualTo(binary);
    assertThat(found.standing()).isEqualTo(Standing.OUTDATED);
    assertThat(found.isReplaced()).isTrue();
    assertThat(found.running().orElseThrow().text()).isEqualTo(OLD);
    assertThat(found.installed().orElseThrow().text()).isEqualTo(NEW);
    assertThat(found.installed().orElseThrow().changedAt()).isAfter(before);
  }

  @Test
  void theSameBuildInItsPlaceDoesNot() throws IOException {
    TestElf.write(deleted(), "aa", OLD);
    TestElf.write(binary, "aa", OLD);
    proc.process(4711, deleted(), "qemu");

    assertThat(only().standing()).isEqualTo(Standing.CURRENT);
    assertThat(only().isReplaced()).isTrue();
  }

  /// A program without build ids in both is known by the file alone.
  @Test
  void filesThatSayNothingAreToldApartByTheFile() throws IOException {
    Files.createDirectories(binary.resolveSibling(""));
    Files.writeString(deleted(), "a");
    Files.writeString(binary, "a");
    proc.process(4711, deleted(), "qemu").process(4712, binary, "qemu");

    assertThat(find())
        .extracting(RunningProgram::standing)
        .containsExactly(Standing.OUTDATED, Standing.CURRENT);
  }

  @Test
  void nothingInItsPlaceIsRemoved() throws IOException {
    TestElf.write(deleted(), "aa", OLD);
    proc.process(4711, deleted(), "qemu");

    assertThat(only().standing()).isEqualTo(Standing.REMOVED);
    assertThat(only().installed()).isEmpty();
  }

  @Test
  void aPipeInItsPlaceIsNotWaitedFor() throws Exception {
    TestElf.write(deleted(), "aa", OLD);
    assertThat(new ProcessBuilder("mkfifo", binary.toString()).start().waitFor()).isZero();
    proc.process(4711, deleted(), "qemu");

    assertThat(only().standing()).isEqualTo(Standing.UNKNOWN);
  }

  @Test
  void whoseProgramCannotBeReadIsUnknown() throws IOException {
    proc.process(1, "/usr/bin/qemu-system-x86_64", "-name", "web1");
    proc.process(2, "web1").file(2, "comm", "qemu-kvm\n");
    proc.process(3, "/sbin/init");
    proc.process(4).file(4, "comm", "qemu-kvm\n");
    proc.process(5, binary, "qemu");

    assertThat(find()).extracting(RunningProgram::pid).containsExactly(1, 2, 5);
    assertThat(find()).extracting(RunningProgram::standing).containsOnly(Standing.UNKNOWN);
    assertThat(find()).allMatch(program -> program.running().isEmpty());
  }

  @Test
  void aProgramThatALoaderRunsIsFoundAmongItsFiles() throws IOException {
    TestElf.write(deleted(), "aa", OLD);
    TestElf.write(binary, "bb", NEW);
    proc.process(4711, Path.of("/usr/lib64/ld-linux-x86-64.so.2"), "ld.so", "qemu");
    proc.file(
        4711,
        "maps",
        """
        00400000-00401000 r--p 00000000 08:01 12                 /usr/lib/libc.so.6
        00500000-7f0000501000 r-xp 00000000 08:01 13             %s (deleted)
        """
            .formatted(binary));
    assertThat(only().program()).isEqualTo(binary);
    assertThat(only().standing()).isEqualTo(Standing.UNKNOWN);
    proc.link(4711, "map_files/500000-7f0000501000", deleted());

    assertThat(only().program()).isEqualTo(binary);
    assertThat(only().standing()).isEqualTo(Standing.OUTDATED);
  }

  @Test
  void itsLibrariesDoNotHideIt() throws IOException {
    TestElf.write(binary, "aa", OLD);
    Path loader = Path.of("/opt/root/ld-linux-x86-64.so.2");
    proc.process(4711, loader, loader.toString(), binary.toString());
    String library = "7f0000001000-7f0000002000 r--p 00000000 08:01 12   /usr/lib/libc.so.6\n";
    String program = "1000-2000 r-xp 00000000 08:01 13 " + binary + "\n";
    proc.link(4711, "map_files/1000-2000", binary);
    proc.file(4711, "maps", library.repeat(2_000) + program);
    assertThat(only().standing()).isEqualTo(Standing.CURRENT);

    proc.file(4711, "maps", library.repeat(80_000) + program);
    assertThat(only().standing()).isEqualTo(Standing.UNKNOWN);
  }

  @Test
  void theWordsOfALoaderAreNoneOfTheProgramsArguments() throws IOException {
    Path loader = Path.of("/opt/root/ld-linux-x86-64.so.2");
    TestElf.write(binary, "aa", OLD);
    proc.process(
        4711,
        loader,
        loader.toString(),
        "--library-path",
        "/l",
        binary.toString(),
        "-name",
        "web1");
    proc.file(4711, "maps", "1000-2000 r-xp 00000000 08:01 13 " + binary + "\n");
    proc.link(4711, "map_files/1000-2000", binary);

    assertThat(only().arguments()).containsExactly(binary.toString(), "-name", "web1");
  }

  @Test
  void aProgramThatALoaderRunsForAnotherUserIsKnownByItsWords() throws IOException {
    proc.process(5, "/opt/root/ld-linux-x86-64.so.2", "--library-path", "/l", binary.toString());

    assertThat(only().program()).isEqualTo(binary);
    assertThat(only().arguments()).containsExactly(binary.toString());
    assertThat(only().standing()).isEqualTo(Standing.UNKNOWN);
  }

  @Test
  void otherProgramsAreLeftOut() throws IOException {
    proc.process(1, Path.of("/usr/bin/qemu-img"), "qemu-img");
    proc.process(2, Path.of("/usr/bin/bash"), "/usr/bin/qemu-system-x86_64");
    proc.process(3, Path.of("/usr/lib64/ld-linux-x86-64.so.2"), "ld.so");
    Files.createDirectories(proc.root().resolve("4"));

    assertThat(find()).isEmpty();
  }

  @Test
  void aLongCommandLineIsReadInPart() throws IOException {
    TestElf.write(binary, "aa", OLD);
    proc.process(4711, binary, "qemu", "-name", "x".repeat(1 << 20));

    assertThat(only().whole()).isFalse();
    assertThat(String.join("", only().arguments()))
        .hasSizeLessThanOrEqualTo(RunningPrograms.ARGUMENT_BYTES);
  }

  @Test
  void twoHundredAreLookedAtWithinASecond() throws IOException {
    TestElf.write(deleted(), "aa", OLD);
    TestElf.write(binary, "bb", NEW);
    for (int pid = 1000; pid < 1200; pid++) {
      proc.process(pid, deleted(), "qemu", "-name", "x".repeat(4000));
    }
    // The best of some: what else the host does is not meant.
    Duration took = Duration.ofDays(1);
    for (int i = 0; i < 5 && took.compareTo(A_SECOND) >= 0; i++) {
      long start = System.nanoTime();
      assertThat(find()).hasSize(200);
      took = Duration.ofNanos(System.nanoTime() - start);
      System.out.println("  200 processes: " + took.toMillis() + " ms");
    }
    assertThat(took).isLessThan(A_SECOND);
  }

  @Test
  void aProcessThatRunsIsFollowedThroughUpgradesOfItsProgram() throws Exception {
    Path sleep = Path.of("/bin/sleep").toRealPath();
    Files.createDirectories(binary.resolveSibling(""));
    Files.copy(sleep, binary, StandardCopyOption.COPY_ATTRIBUTES);
    Process process = new ProcessBuilder(binary.toString(), "60").start();
    try {
      assertThat(running(process).standing()).isEqualTo(Standing.CURRENT);
      assertThat(running(process).arguments()).containsExactly(binary.toString(), "60");
      assertThat(Duration.between(running(process).startedAt(), Instant.now()).abs())
          .isLessThan(Duration.ofMinutes(1));

      install(Path.of("/bin/cat"));
      assertThat(running(process).standing()).isEqualTo(Standing.OUTDATED);
      install(sleep);
      assertThat(running(process).standing()).isEqualTo(Standing.CURRENT);
      assertThat(running(process).isReplaced()).isTrue();
      Files.delete(binary);
      assertThat(running(process).standing()).isEqualTo(Standing.REMOVED);
      assertThat(running(process).program()).isEqualTo(binary);
    } finally {
      process.destroyForcibly().waitFor();
    }
    assertThat(host()).noneMatch(program -> program.pid() == process.pid());
  }

  /// As a package manager does.
  private void install(Path program) throws IOException {
    Path staged = folder.resolve("usr/bin/staged");
    Files.copy(program.toRealPath(), staged, StandardCopyOption.COPY_ATTRIBUTES);
    Files.move(staged, binary, StandardCopyOption.ATOMIC_MOVE);
  }

  private static RunningProgram running(Process process) throws IOException {
    return host().stream()
        .filter(program -> program.pid() == process.pid())
        .findFirst()
        .orElseThrow();
  }

  private static List<RunningProgram> host() throws IOException {
    return new RunningPrograms(ProcFs.HOST, "qemu-system-x86_64"::equals, MARK).find();
  }

  private Path deleted() {
    return binary.resolveSibling(binary.getFileName() + FakeProc.DELETED);
  }

  private RunningProgram only() throws IOException {
    assertThat(find()).hasSize(1);
    return find().getFirst();
  }

  private List<RunningProgram> find() throws IOException {
    return new RunningPrograms(
            proc.files(), name -> name.matches("qemu-system-x86_64|qemu-kvm"), MARK)
        .find();
  }
}
