package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Where guests' users and control groups come from, in folders that look like a host's.
class ConfinerTest {
  private static final GuestSpec WEB1 =
      new GuestSpec(
          "web1",
          1,
          GuestSpec.MIN_MEMORY_BYTES,
          "pc-q35-7.2",
          "qemu64",
          AcceleratorWish.TCG,
          Optional.empty(),
          List.of(),
          List.of());

  @TempDir Path host = Path.of("");
  private Path mounted = Path.of("");
  private Path delegated = Path.of("");
  private Path files = Path.of("");

  @BeforeEach
  void prepare() throws IOException {
    mounted = group(host.resolve("cgroup"));
    delegated = mounted.resolve("hyperfresh.slice/hyperfresh-guests.service");
    files = Files.createDirectories(host.resolve("guests/web1"));
  }

  private static Path group(Path folder) throws IOException {
    Files.createDirectories(folder);
    return Files.writeString(folder.resolve("cgroup.controllers"), "memory pids\n")
        .resolveSibling("");
  }

  private Confiner confiner() {
    return new Confiner(host.resolve("users"), List.of(delegated, mounted), Optional.empty());
  }

  private static Path group(Path root, OptionalInt user) {
    return root.resolve("hyperfresh/web1." + user.getAsInt());
  }

  @Test
  void whereNothingIsDelegatedGroupsAreBelowTheRoot() {
    Confinement confinement = confiner().confine(WEB1, files);

    assertThat(confinement.cgroup()).map(Cgroup::exists).contains(true);
    assertThat(group(mounted, confinement.user())).isDirectory();
    assertThat(delegated).doesNotExist();
  }

  @Test
  void whereAPartIsDelegatedTheyAreInItAndTheRootIsLeftAlone() throws Exception {
    group(delegated);

    Confinement confinement = confiner().confine(WEB1, files);

    assertThat(group(delegated, confinement.user())).isDirectory();
    assertThat(mounted.resolve("hyperfresh")).doesNotExist();
    assertThat(mounted.resolve("cgroup.subtree_control")).doesNotExist();
  }

  /// As when a daemon of the package takes over from one that somebody started by hand.
  @Test
  void aGuestStaysInItsGroupWhenAPartIsDelegatedLater() throws Exception {
    OptionalInt user = confiner().confine(WEB1, files).user();
    group(delegated);

    Confinement again = confiner().again(WEB1, user, files);
    assertThat(again.cgroup()).map(Cgroup::exists).contains(true);
    assertThat(group(delegated, user)).doesNotExist();

    empty(group(mounted, user));
    confiner().release("web1", files, user);
    assertThat(group(mounted, user)).doesNotExist();
    assertThat(host.resolve("users").resolve(Integer.toString(user.getAsInt()))).doesNotExist();
  }

  private Path claim(OptionalInt user) {
    return host.resolve("users").resolve(Integer.toString(user.getAsInt()));
  }

  @Test
  void whatIsGivenBackAgainIsSomebodyElses() throws Exception {
    OptionalInt user = confiner().confine(WEB1, files).user();
    empty(group(mounted, user));
    confiner().release("web1", files, user);
    Files.createDirectory(group(mounted, user));
    confiner().release("web1", files, user);
    assertThat(group(mounted, user)).as("in nobody's name").exists();

    Path others = Files.createDirectories(host.resolve("others/web1"));
    assertThat(confiner().confine(WEB1, others).user()).isEqualTo(user);
    confiner().release("web1", files, user);

    assertThat(claim(user)).hasContent(others.toString());
    assertThat(group(mounted, user)).exists();
  }

  @Test
  void aGuestThatHasAUserGetsNoOther() throws Exception {
    OptionalInt user = confiner().confine(WEB1, files).user();

    assertThat(confiner().confine(WEB1, files).user()).isEqualTo(user);

    Path link = Files.createSymbolicLink(host.resolve("link"), host.resolve("guests"));
    empty(group(mounted, user));
    confiner().release("web1", link.resolve("web1"), user);
    assertThat(claim(user)).doesNotExist();
  }

  @Test
  void filesOfAnyEarlierUserBecomeThoseOfTheNewOne() throws Exception {
    assumeThat(Host.effectiveUid()).isZero();
    Path log = Files.createFile(files.resolve("hypervisor-1.log"));
    Path other = Files.createFile(files.resolve("guest.properties"));
    Files.setAttribute(log, "unix:gid", Confiner.FIRST_USER + 17);
    Object group = Files.getAttribute(other, "unix:gid");

    confiner().handOver(files, OptionalInt.of(Confiner.FIRST_USER + 3));

    assertThat(Files.getAttribute(log, "unix:gid")).isEqualTo(Confiner.FIRST_USER + 3);
    assertThat(Files.getAttribute(other, "unix:gid")).isEqualTo(group);
  }

  /// A real group's files go with its folder.
  private static void empty(Path group) throws IOException {
    try (var files = Files.newDirectoryStream(group)) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
  }
}
