package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A user who names files that are not the user's, by all the ways in which a path can lead there.
@Timeout(60)
class FileUserTest {
  private static final int USER = 1_999_000_001;
  private static final int GROUP = 1_999_000_002;
  private static final Duration PATIENCE = Duration.ofSeconds(2);

  @TempDir Path folder;

  private final FileUser user = new FileUser(USER, USER, List.of(GROUP, 7));

  @BeforeEach
  void needsRoot() throws Exception {
    Here.requireRoot();
    // The folder above it belongs to whoever runs the tests.
    mode(folder, "rwxrwxrwx");
  }

  @Test
  void whatIsTheUsersIsOpened() throws Exception {
    Path own = file("own", "rw-------");
    Files.setAttribute(own, "unix:uid", USER);
    Path shared = file("shared", "rw-r-----");
    Files.setAttribute(shared, "unix:gid", GROUP);

    try (Fd opened = user.open(own, OpenFlags.READ_WRITE);
        Fd read = user.open(shared, OpenFlags.READ_ONLY)) {
      byte[] text = new byte[3];
      assertThat(opened.read(text, 0, 3)).isEqualTo(3);
      assertThat(new String(text, StandardCharsets.US_ASCII)).isEqualTo("own");
      assertThat(read.isOpen()).isTrue();
    }
    assertRefused(() -> user.open(shared, OpenFlags.WRITE_ONLY));
  }

  @Test
  void noPathLeadsToWhatIsNot() throws Exception {
    Path secret = file("secret", "rw-------");
    Path link = Files.createSymbolicLink(folder.resolve("link"), secret);
    Path hidden = Files.createDirectory(folder.resolve("hidden"));
    mode(Files.writeString(hidden.resolve("open"), "x"), "rw-rw-rw-");
    mode(hidden, "rwx------");

    for (Path path : List.of(secret, link, hidden.resolve("open"))) {
      assertRefused(() -> user.open(path, OpenFlags.READ_ONLY));
    }
    // Everybody may open it who gets to it, and the link of the kernel leads there.
    try (MemFd memory = MemFd.create("secret", 4096)) {
      String descriptor = "/proc/" + ProcessHandle.current().pid() + "/fd/" + memory.fd().number();
      Path magic = Files.createSymbolicLink(folder.resolve("magic"), Path.of(descriptor));
      Fd.open(magic, OpenFlags.READ_ONLY).close();
      for (Path path : List.of(magic, Path.of(descriptor), Path.of("/proc/self/fd/0"))) {
        assertThatThrownBy(() -> user.open(path, OpenFlags.READ_ONLY))
            .isInstanceOf(LinuxException.class)
            .hasMessageContaining("ELOOP (40)");
      }
    }
    // This thread has what it had.
    Fd.open(secret, OpenFlags.READ_ONLY).close();
  }

  /// Who may read and write there, the kernel decides by who asks, and what it shows is not stored.
  @Test
  void whatTheKernelMakesUpIsNotOpened() {
    for (String made :
        List.of("/proc/self/status", "/proc/sys/kernel/ostype", "/sys/kernel/mm/hugepages")) {
      assertRefused(() -> user.open(Path.of(made), OpenFlags.READ_ONLY));
    }
  }

  @Test
  void nothingIsMadeAndNothingIsWaitedFor() throws Exception {
    assertThatThrownBy(
            () -> user.open(folder.resolve("new"), OpenFlags.CREATE | OpenFlags.WRITE_ONLY))
        .isInstanceOf(LinuxException.class)
        .hasMessageContaining("ENOENT");
    Path pipe = folder.resolve("pipe");
    Here.run("mkfifo", "-m", "666", pipe.toString());
    user.open(pipe, OpenFlags.READ_ONLY).close();
  }

  @Test
  void aLinkToAnotherSocketIsNotFollowed() throws Exception {
    Path closed = folder.resolve("closed.sock");
    Path link = Files.createSymbolicLink(folder.resolve("link.sock"), closed);
    try (UnixSocket listener = UnixSocket.listen(closed, 0600)) {
      assertRefused(() -> user.connect(link, PATIENCE));
      assertThat(listener.fd().pollReadable(Duration.ofMillis(200))).isFalse();

      Files.setAttribute(closed, "unix:uid", USER);
      try (UnixSocket _ = user.connect(link, PATIENCE)) {
        assertThat(listener.fd().pollReadable(PATIENCE)).isTrue();
        try (UnixSocket accepted = listener.accept()) {
          assertThat(accepted.peer().uid()).isEqualTo(USER);
        }
      }
    }
  }

  /// A process of root may have fewer rights than this one: in a namespace of its own, under a
  /// label.
  @Test
  void aUserOfTheSameNumberIsNotThisProcess() throws Exception {
    FileUser less = new FileUser(Host.effectiveUid(), 0, List.of());
    try (MemFd memory = MemFd.create("secret", 4096)) {
      Path magic =
          Files.createSymbolicLink(
              folder.resolve("magic"), Path.of("/proc/self/fd/" + memory.fd().number()));
      assertThatThrownBy(() -> less.open(magic, OpenFlags.READ_ONLY))
          .isInstanceOf(LinuxException.class)
          .hasMessageContaining("ELOOP (40)");
    }
    Path secret = file("secret", "rw-------");
    Files.setAttribute(secret, "unix:uid", USER);
    assertRefused(() -> less.open(secret, OpenFlags.READ_ONLY));
  }

  @Test
  void aSocketOfRootsInAFolderOfTheUsersIsFoundAndNoLinkToOne() throws Exception {
    Path roots = folder.resolve("roots.sock");
    Path link = Files.createSymbolicLink(folder.resolve("link.sock"), roots);
    Path hidden = Files.createDirectory(folder.resolve("hidden"));
    mode(hidden, "rwx------");
    try (UnixSocket listener = UnixSocket.listen(roots, 0600);
        UnixSocket other = UnixSocket.listen(hidden.resolve("s"), 0666)) {
      assertRefused(() -> user.connect(roots, PATIENCE));
      try (UnixSocket _ = user.connectAsOwner(roots, PATIENCE);
          UnixSocket accepted = listener.accept()) {
        assertThat(accepted.peer().uid()).isZero();
      }
      assertThatThrownBy(() -> user.connectAsOwner(link, PATIENCE))
          .isInstanceOf(LinuxException.class);
      assertRefused(() -> user.connectAsOwner(hidden.resolve("s"), PATIENCE));
      assertThat(listener.fd().pollReadable(Duration.ofMillis(200))).isFalse();
      assertThat(other.fd().pollReadable(Duration.ZERO)).isFalse();

      Files.setAttribute(roots, "unix:uid", USER);
      try (UnixSocket _ = user.connectAsOwner(roots, PATIENCE);
          UnixSocket accepted = listener.accept()) {
        assertThat(accepted.peer().uid()).isEqualTo(USER);
      }
    }
  }

  @Test
  void aSocketOfTheUserIsMadeMovedAndRemovedByTheUser() throws Exception {
    Path made = folder.resolve("made.sock");
    Path place = file("place.sock", "rw-------");
    Files.setAttribute(place, "unix:uid", USER);
    try (UnixSocket listener = user.listen(made, 0660)) {
      assertThat(Files.getAttribute(made, "unix:uid")).isEqualTo(USER);
      assertThat(Files.getPosixFilePermissions(made))
          .isEqualTo(PosixFilePermissions.fromString("rw-rw----"));
      user.rename(made, place);
      assertThat(made).doesNotExist();
      UnixSocket.connect(place).close();
      assertThat(listener.listensAt()).contains(made);
    }
    user.remove(place);
    user.remove(place);
    assertThat(place).doesNotExist();
  }

  @Test
  void whatTheUserMayNotIsNotMadeMovedOrRemoved() throws Exception {
    Path hidden = Files.createDirectory(folder.resolve("hidden"));
    Path secret = Files.writeString(hidden.resolve("secret"), "x");
    mode(hidden, "rwxr-xr-x");
    Path own = file("own", "rw-------");
    Files.setAttribute(own, "unix:uid", USER);

    assertRefused(() -> user.listen(hidden.resolve("made.sock"), 0600));
    for (ThrowingCallable step :
        List.<ThrowingCallable>of(
            () -> user.remove(secret),
            () -> user.rename(own, secret),
            () -> user.rename(secret, own))) {
      assertThatThrownBy(step).isInstanceOf(AccessDeniedException.class);
    }
    assertThat(secret).hasContent("x");
    assertThat(own).hasContent("own");
  }

  @Test
  void whoeverThisProcessIsGivesNothingUp() throws Exception {
    Path secret = file("secret", "---------");

    FileUser.SELF.open(secret, OpenFlags.READ_WRITE).close();
  }

  private Path file(String name, String mode) throws Exception {
    return mode(Files.writeString(folder.resolve(name), name), mode);
  }

  private static Path mode(Path path, String mode) throws Exception {
    return Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
  }

  private static void assertRefused(ThrowingCallable opening) {
    assertThatThrownBy(opening)
        .isInstanceOf(LinuxException.class)
        .hasMessageContaining("EACCES (13)");
  }
}
