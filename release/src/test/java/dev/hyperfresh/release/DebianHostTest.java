package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.util.List;
import org.junit.jupiter.api.Test;

class DebianHostTest {
  private static List<Suite> suites(String vendor, String codename) {
    return DebianHost.of(List.of("ID=" + vendor, "VERSION_CODENAME=\"" + codename + "\"")).suites();
  }

  @Test
  void aDebianOfAnotherReleaseIsAlsoOfferedWhatDebian13Has() {
    assertThat(suites("debian", "bookworm")).containsExactly(Suite.values());
    assertThat(suites("debian", "trixie"))
        .as("its own are those")
        .containsExactly(Suite.STABLE, Suite.BACKPORTS);
    assertThat(suites("ubuntu", "noble"))
        .as("its mirror has no Debian")
        .containsExactly(Suite.STABLE, Suite.BACKPORTS);
  }

  @Test
  void suitesAreCalledAsDebianCallsThem() {
    assertThat(List.of(Suite.values()).stream().map(suite -> suite.of("bookworm")))
        .containsExactly("bookworm", "bookworm-backports", "trixie", "trixie-backports");
    assertThat(List.of(Suite.values()).stream().map(suite -> suite.base("bookworm")))
        .containsExactly("bookworm", "bookworm", "trixie", "trixie");
  }

  @Test
  void aHostThatDoesNotSayItsReleaseIsRefused() {
    assertThatThrownBy(() -> DebianHost.of(List.of("ID=arch", "VERSION_CODENAME=")))
        .isInstanceOf(PackagesException.class)
        .hasMessageContaining("VERSION_CODENAME");
  }
}
