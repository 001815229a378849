package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ResolvConfTest {
  private static final List<String> SERVERS = List.of("10.0.0.1", "fd00::1");

  @TempDir Path folder;

  @Test
  void itTakesThePlaceOfALinkAndFollowsNone() throws IOException {
    Path outside = Files.writeString(folder.resolve("outside"), "the host's");
    Path etc = Files.createDirectories(folder.resolve("root/etc"));
    Path file = etc.resolve("resolv.conf");
    Files.createSymbolicLink(file, outside);
    for (int i = 0; i < 2; i++) {
      ResolvConf.write(folder.resolve("root"), SERVERS);
      assertThat(file).isRegularFile().hasContent("nameserver 10.0.0.1\nnameserver fd00::1\n");
      assertThat(Files.isSymbolicLink(file)).isFalse();
      assertThat(Files.getPosixFilePermissions(file))
          .isEqualTo(PosixFilePermissions.fromString("rw-r--r--"));
    }
    assertThat(outside).hasContent("the host's");
  }

  @Test
  void aFolderThatIsALinkIsRefused() throws IOException {
    Path outside = Files.createDirectories(folder.resolve("outside"));
    Path root = Files.createDirectories(folder.resolve("root"));
    assertThatThrownBy(() -> ResolvConf.write(root, SERVERS)).hasMessageContaining("folder etc");
    Files.createSymbolicLink(root.resolve("etc"), outside);
    assertThatThrownBy(() -> ResolvConf.write(root, SERVERS)).hasMessageContaining("folder etc");
    assertThat(outside).isEmptyDirectory();
    ResolvConf.write(root, List.of());
  }
}
