package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ReadinessTest {
  @TempDir Path folder = Path.of("");

  @Test
  void whatIsInOrderIsLeftAsItIs() {
    Readiness.require(folder);
    assertThat(folder).isEmptyDirectory();
    Readiness.require(folder.resolve("nowhere"));
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void aDirectoryThatCannotBeWrittenIsNamed() throws Exception {
    Files.createDirectories(folder.resolve(".next-daemon/full"));
    assertThatThrownBy(() -> Readiness.require(folder))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("cannot be written");
  }

  /// The one that runs has read it long ago.
  @Test
  void aDaemonKeepsEverythingWhenTheNextOneCouldNotReadTheRoles() throws Exception {
    Path state = folder.resolve("state");
    DaemonConfig config = DaemonConfig.under(state);
    try (Daemon daemon = Daemon.start(config)) {
      Files.writeString(state.resolve("roles"), "admin usr alice\n");

      assertThatThrownBy(() -> Daemon.upgrade(config))
          .isInstanceOf(HyperFreshException.class)
          .hasMessageContaining("roles: line 1");

      assertThat(new RawHttp(daemon.config().socket()).get("/v1/guests").status()).isEqualTo(200);
    }
  }
}
