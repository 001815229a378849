package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Programs of processes, and whose files they are.
@Timeout(60)
class RunningBuildTest {
  private static final Path SLEEP = Path.of("/usr/bin/sleep");

  private final Path folder;
  private Optional<Process> process = Optional.empty();

  RunningBuildTest(@TempDir Path folder) {
    this.folder = folder;
  }

  private RunningBuild started(Path program) throws IOException {
    Process begun = new ProcessBuilder(program.toString(), "60").start();
    process = Optional.of(begun);
    return new RunningBuild(Math.toIntExact(begun.pid()));
  }

  @AfterEach
  void end() {
    process.ifPresent(Process::destroyForcibly);
  }

  private Path copy(String mode) throws IOException {
    Path copy = Files.copy(SLEEP, folder.resolve("program"));
    return Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString(mode));
  }

  @Test
  void aProgramOfTheHostIsRoots() throws IOException {
    assertThat(started(SLEEP).isOfRoot()).isTrue();
    assertThat(new RunningBuild(Integer.MAX_VALUE).isOfRoot()).isFalse();
  }

  @Test
  void oneThatOthersCanWriteIsNobodys() throws IOException {
    assertThat(started(copy("rwxrwxr-x")).isOfRoot()).isFalse();
  }

  /// The package manager may have replaced it, and it runs on.
  @Test
  void oneThatIsGoneIsRootsAllTheSame() throws IOException {
    Path program = copy("rwxr-xr-x");
    RunningBuild build = started(program);
    Files.delete(program);

    assertThat(build.isOfRoot()).isEqualTo(Host.effectiveUid() == 0);
  }

  @Test
  void whatIsNoQemuLeavesNothingBehind() throws IOException {
    RunningBuild build = started(SLEEP);
    QemuReleases releases =
        new QemuReleases(folder.resolve("releases"), new DebianPackages(folder.resolve("apt")));
    Path staging = folder.resolve("staging");

    assertThatThrownBy(() -> build.add(releases, staging))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_DAMAGED));
    assertThat(staging).doesNotExist();
    assertThat(releases.list()).isEmpty();
  }
}
