package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A release is verified by all of its files.
class ReleaseFoldersTest {
  @TempDir Path directory;
  private ReleaseFolders folders;
  private Path home;

  @BeforeEach
  void install() throws IOException {
    folders = new ReleaseFolders(directory, "release.json");
    Path staging = folders.stage();
    Files.createDirectories(staging.resolve("share/roms"));
    Files.writeString(staging.resolve("share/roms/a.rom"), "a");
    Files.writeString(staging.resolve("library"), "b");
    Files.createSymbolicLink(staging.resolve("link"), Path.of("library"));
    folders.install(staging, "one", "{}".getBytes(StandardCharsets.UTF_8));
    home = folders.home("one");
  }

  @Test
  void aReleaseThatIsAsItWasInstalledPasses() throws IOException {
    assertThat(folders.verify("one")).isTrue();
    // What a look at it leaves is none of its files.
    Files.writeString(home.resolve("probe.log"), "it ran");
    assertThat(folders.verify("one")).isTrue();
  }

  @Test
  void everyFileCounts() throws IOException {
    Files.writeString(home.resolve("share/roms/a.rom"), "x");
    Files.writeString(home.resolve("release.json"), "{ }");
    Files.delete(home.resolve("link"));
    Files.createSymbolicLink(home.resolve("link"), Path.of("share"));
    Files.delete(home.resolve("library"));
    Files.writeString(home.resolve("share/b.rom"), "new");
    assertThatThrownBy(() -> folders.verify("one"))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_DAMAGED))
        .hasMessageContainingAll(
            home.resolve("share/roms/a.rom") + " was changed.",
            home.resolve("release.json") + " was changed.",
            home.resolve("link") + " was changed.",
            home.resolve("library") + " is missing.",
            home.resolve("share/b.rom") + " is new.");
  }

  @Test
  void anInstallationWithoutAManifestGetsOneAndSaysSo() throws IOException {
    Files.delete(home.resolve("files.sha256"));
    assertThat(folders.verify("one")).isFalse();
    assertThat(folders.verify("one")).isTrue();
    Files.writeString(home.resolve("library"), "other");
    assertThatThrownBy(() -> folders.verify("one")).hasMessageContaining("library was changed.");
  }

  @Test
  void aManifestThatCannotBeReadIsNoReleaseThatPasses() throws IOException {
    Files.writeString(home.resolve("files.sha256"), "short\n");
    assertThatThrownBy(() -> folders.verify("one"))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.DAEMON_STATE));
  }
}
