package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// The script `container` on this host, in a mount namespace where the folders of an OS are empty
/// ones.
class ContainerScriptTest {
  private static final int LIMIT_SECONDS = 60;

  @TempDir Path folder;

  private record Run(int code, String said) {}

  @BeforeEach
  void lay() throws IOException {
    Assumptions.assumeTrue(Host.effectiveUid() == 0, "mounts are made by root alone");
    Files.writeString(folder.resolve("container"), Words.resource("/os/container"));
    Files.createDirectories(folder.resolve("cgroup/c1"));
    Files.createDirectories(folder.resolve("run/containers/c1/limits"));
    for (String file : List.of("cgroup.procs", "cpu.weight")) {
      Files.createFile(folder.resolve("cgroup/c1").resolve(file));
    }
  }

  private Path work() {
    return folder.resolve("run/containers/c1");
  }

  private Run container(String... words) throws Exception {
    String script =
        "mount --bind cgroup /sys/fs/cgroup && mount --bind run /run"
            + " && exec sh container "
            + String.join(" ", words);
    Process process =
        new ProcessBuilder("unshare", "-m", "sh", "-c", script)
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    return new Run(process.exitValue(), said.strip());
  }

  @Test
  void aContainerThatHasEndedInTheDrainIsSaidToHaveEnded() throws Exception {
    for (String limit :
        List.of("memory.high", "memory.max", "memory.swap.max", "pids.max", "cpu.max")) {
      Files.writeString(work().resolve("limits").resolve(limit), "max\n");
    }

    assertThat(container("adopt", "c1")).isEqualTo(new Run(1, "no process of it runs any more"));
  }

  /// Numbers of processes are used again, and what was written down of one is not for another.
  @Test
  void onlyTheProcessThatWasWrittenDownIsEnded() throws Exception {
    Process other = new ProcessBuilder("sleep", "600").start();
    try {
      String begun =
          Files.readString(Path.of("/proc", Long.toString(other.pid()), "stat"))
              .replaceFirst(".*\\) ", "")
              .split(" ")[19];
      Path noted = work().resolve("gather");

      Files.writeString(noted, other.pid() + " " + (Long.parseLong(begun) - 1) + "\n");
      assertThat(container("end", "c1")).isEqualTo(new Run(0, ""));
      assertThat(other.isAlive()).isTrue();

      Files.writeString(noted, other.pid() + "\n");
      assertThat(container("end", "c1")).isEqualTo(new Run(0, ""));
      assertThat(other.isAlive()).isTrue();

      Files.writeString(noted, other.pid() + " " + begun + "\n");
      assertThat(container("end", "c1")).isEqualTo(new Run(0, ""));
      assertThat(other.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)).isTrue();
    } finally {
      other.destroyForcibly();
    }
  }
}
