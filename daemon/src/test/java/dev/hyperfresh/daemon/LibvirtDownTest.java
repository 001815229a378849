package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hyperplexor.HandedBack;
import dev.hyperfresh.libvirt.Down;
import dev.hyperfresh.linux.ProcessIdentity;
import dev.hyperfresh.vm.StateFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What a daemon writes down while libvirt is down is what the next one reads.
class LibvirtDownTest {
  private static final ProcessIdentity FIRST = new ProcessIdentity(4711, 17, "boot");
  private static final ProcessIdentity NOW = new ProcessIdentity(4712, 18, "boot");

  private static final HandedBack BACK =
      new HandedBack(
          "web1",
          4712,
          Map.of(0, 4713, 1, 4714),
          Map.of("charserial0", "/dev/pts/9"),
          Map.of("hostnet0", "hf-web1"),
          Path.of("/opt/a b/qemu"));

  private static Down down(List<Down.Between> between) {
    Down.How how =
        new Down.How(List.of(), List.of("/l", "-d"), Map.of("A", "b"), "/", List.of("/g"), FIRST);
    return new Down("2026-01-01T00:00:00Z", "boot", how, between);
  }

  @Test
  void theNextDaemonReadsWhatWasWritten(@TempDir Path folder) {
    Path file = folder.resolve("libvirt-down.json");
    Down kept =
        down(
            List.of(
                new Down.Between("web 1", "u", "web1", FIRST, NOW, Optional.of(BACK)),
                new Down.Between(
                    "db", "v", "lv-1", FIRST, ProcessIdentity.NONE, Optional.empty())));

    StateFile.keep(file, kept);

    assertThat(StateFile.readWithSum(file, Down.class)).contains(kept);
  }

  @Test
  void whatAnOlderDaemonWroteIsRead(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("libvirt-down.json");
    Files.writeString(
        file,
        """
        {"since":"s","boot":"b","how":{"units":["x"],"command":[],"environment":{},"folder":"/",\
        "groups":[],"process":{"pid":0,"start":0,"boot":""}},"between":[{"domain":"web1",\
        "uuid":"u","guest":"g","first":{"pid":4711,"start":17,"boot":"boot"},\
        "now":{"pid":0,"start":0,"boot":""}}]}\
        """);

    assertThat(StateFile.read(file, Down.class).orElseThrow().between())
        .containsExactly(
            new Down.Between("web1", "u", "g", FIRST, ProcessIdentity.NONE, Optional.empty()));
  }
}
