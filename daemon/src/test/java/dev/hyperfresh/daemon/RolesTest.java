package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.linux.Host;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RolesTest {
  @TempDir Path state;

  @Test
  void withoutAFileOnlyRootAndTheDaemonsUserHaveARole() {
    Roles roles = Roles.read(state);

    assertThat(roles.nameOthers()).isFalse();
    assertThat(roles.of(0, 0, List.of())).contains(Role.ADMIN);
    assertThat(roles.of(Host.effectiveUid(), 5, List.of())).contains(Role.ADMIN);
    assertThat(roles.of(64001, 0, List.of(0))).isEmpty();
  }

  @Test
  void theHighestRoleCounts() throws Exception {
    Roles roles =
        read(
            """
            # who may do what
            viewer   user  64001
            operator group 64002   # the night shift
            admin    user  nobody

            viewer   group 4294967294
            """);

    assertThat(roles.nameOthers()).isTrue();
    assertThat(roles.of(64001, 64001, List.of())).contains(Role.VIEWER);
    assertThat(roles.of(64001, 64001, List.of(7, 64002))).contains(Role.OPERATOR);
    assertThat(roles.of(64005, 64002, List.of())).contains(Role.OPERATOR);
    assertThat(roles.of(65534, 65534, List.of())).contains(Role.ADMIN);
    assertThat(roles.of(64005, 64005, List.of(-2))).contains(Role.VIEWER);
    assertThat(roles.of(64002, 64001, List.of())).isEmpty();
  }

  @Test
  void allFaultsAreReportedTogether() {
    assertThatThrownBy(() ->
            read(
                """
                root user 1
                viewer user
                viewer user 64001
                admin user 64001
                viewer user ../x
                viewer user 4294967295
                """))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining("line 1: ")
        .hasMessageContaining("line 2: ")
        .hasMessageContaining("line 4: user 64001 already has a role")
        .hasMessageContaining("line 5: ")
        .hasMessageContaining("line 6: 4294967295 is not a number of a user");
  }

  /// A user who has left must not cost everybody the daemon.
  @Test
  void aNameThatNobodyHasGivesNobodyARight() throws Exception {
    Roles roles =
        read(
            """
            admin user no-such-user-here
            operator group no-such-group-here
            viewer user 64001
            """);

    assertThat(roles.users()).containsOnlyKeys(64001);
    assertThat(roles.groups()).isEmpty();
  }

  @Test
  void aFileThatOthersCouldWriteIsRefused() throws Exception {
    Path file = Files.writeString(state.resolve("roles"), "admin user 64001\n");
    for (String mode : List.of("rw-rw-r--", "rw-r--rw-")) {
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(mode));
      assertThatThrownBy(() -> Roles.read(state)).hasMessageContaining("can write");
    }
    Path elsewhere = Files.move(file, state.resolve("elsewhere"));
    Files.createSymbolicLink(file, elsewhere);
    assertThatThrownBy(() -> Roles.read(state)).hasMessageContaining("can write");
  }

  @Test
  void aFileThatIsTooLongIsRefused() {
    assertThatThrownBy(() -> read("#".repeat(70_000))).hasMessageContaining("64 KiB");
    assertThatThrownBy(() -> read("\n".repeat(1001))).hasMessageContaining("1000 lines");
  }

  private Roles read(String text) throws Exception {
    Path file = Files.writeString(state.resolve("roles"), text);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r--r--"));
    return Roles.read(state);
  }
}
