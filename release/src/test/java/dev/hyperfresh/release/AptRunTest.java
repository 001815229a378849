package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AptRunTest {
  @Test
  void linesAreHeardAsTheyComeAndAreBounded(@TempDir Path folder) {
    List<String> heard = new ArrayList<>();
    List<String> command =
        List.of("sh", "-c", "echo one; echo two >&2; printf '%08000d\\n' 3; printf four");

    AptRun run = AptRun.of(command, folder, Duration.ofSeconds(20), heard::add);

    assertThat(run.status()).isZero();
    assertThat(run.output()).startsWith("one\ntwo\n0").endsWith("3\nfour");
    assertThat(heard).hasSize(3).startsWith("one", "two");
    assertThat(heard.getLast()).hasSize(4096);
  }

  @Test
  void ofAFloodTheFirstMebibyteIsKept(@TempDir Path folder) {
    List<String> command = List.of("sh", "-c", "yes 0123456 | head -c 50000000");

    AptRun run = AptRun.of(command, folder, Duration.ofMinutes(2), _ -> {});

    assertThat(run.status()).isZero();
    assertThat(run.output()).hasSize(1 << 20);
  }

  /// With what it has started, which would keep its output open.
  @Test
  void whatDoesNotEndIsKilled(@TempDir Path folder) throws Exception {
    List<Long> started = new ArrayList<>();
    List<String> command = List.of("sh", "-c", "sleep 600 & echo $!; wait");

    assertThatThrownBy(() ->
            AptRun.of(
                command, folder, Duration.ofSeconds(2), line -> started.add(Long.parseLong(line))))
        .isInstanceOf(PackagesException.class)
        .hasMessageContaining("did not end");

    assertThat(started).hasSize(1);
    Optional<ProcessHandle> sleeper = ProcessHandle.of(started.getFirst());
    if (sleeper.isPresent()) {
      assertThat(sleeper.get().onExit().get(30, TimeUnit.SECONDS).isAlive()).isFalse();
    }
  }

  @Test
  void aDownloadIsToldWithItsSize() {
    String line =
        "Get:3 http://deb.debian.org/debian bookworm/main amd64 qemu-system-x86 amd64"
            + " 1:7.2+dfsg-7+deb12u13 [6,512 kB]";

    assertThat(PackageFetch.begun(line, 23))
        .contains("downloading 3 of 23: qemu-system-x86 1:7.2+dfsg-7+deb12u13, 6,512 kB");
    assertThat(PackageFetch.begun("Fetched 6,512 kB in 1s (6,500 kB/s)", 23)).isEmpty();
    assertThat(PackageFetch.begun("Hit:1 http://deb.debian.org/debian bookworm", 23)).isEmpty();
  }
}
