package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Files of processes that have a `/dev` of their own, as libvirt gives to each QEMU.
@Timeout(30)
class ForeignProcessTest {
  @TempDir Path folder;

  private static ForeignProcess self() {
    return new ForeignProcess((int) ProcessHandle.current().pid());
  }

  @Test
  void aDeviceIsTheSameByItsNumber() throws Exception {
    if (Host.effectiveUid() != 0) {
      System.out.println("skipped: only root can make devices");
      Assumptions.abort();
    }
    Path zeroes = node("zeroes", "5");
    Path nothing = node("nothing", "3");

    assertThat(self().isSame(zeroes, Path.of("/dev/zero"))).isTrue();
    assertThat(self().isSame(nothing, Path.of("/dev/null"))).isTrue();
    assertThat(self().isSame(nothing, Path.of("/dev/zero"))).isFalse();
    assertThat(self().isSame(folder, Path.of("/dev/zero"))).isFalse();
  }

  private Path node(String name, String minor) throws Exception {
    Path node = folder.resolve(name);
    Process made = new ProcessBuilder("mknod", node.toString(), "c", "1", minor).start();
    assertThat(made.waitFor()).isZero();
    return node;
  }

  @Test
  void twoFilesAreTwo() throws Exception {
    Path one = Files.writeString(folder.resolve("one"), "");
    Path other = Files.writeString(folder.resolve("other"), "");

    assertThat(self().isSame(one, one)).isTrue();
    assertThat(self().isSame(one, other)).isFalse();
    assertThat(self().isSame(folder.resolve("none"), Path.of("/dev/zero"))).isFalse();
  }
}
