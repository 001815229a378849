package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
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
