package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.UnixSocket;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The socket of a monitor or a SPICE server beside the one that others know.
@Timeout(30)
class BesideSocketTest {
  @TempDir Path folder;

  private Path known() {
    return folder.resolve("monitor.sock");
  }

  private BesideSocket beside() {
    return new BesideSocket(known(), 4711, 2);
  }

  @Test
  void itIsLikeTheOldOneAndTakesItsPlaceWhenThatIsFree() throws Exception {
    UnixSocket old = UnixSocket.listen(known(), 0660);
    Object before = Files.readAttributes(known(), "unix:ino").get("ino");
    try (UnixSocket next = beside().listen(FileUser.SELF)) {
      Path waiting = folder.resolve("monitor.sock.hf4711-2");
      assertThat(Files.getPosixFilePermissions(waiting))
          .isEqualTo(PosixFilePermissions.fromString("rw-rw----"));
      assertThat(Files.getAttribute(known(), "unix:ino")).isEqualTo(before);
      assertThatThrownBy(() -> beside().take(FileUser.SELF))
          .isInstanceOf(Qmp.QmpException.class)
          .hasMessageContaining("another process listens at " + known());
      assertThat(waiting).exists();

      old.close();
      beside().take(FileUser.SELF);
      beside().take(FileUser.SELF);

      assertThat(waiting).doesNotExist();
      UnixSocket.connect(known()).close();
      next.accept().close();
      // Whoever looks for it later finds it at the path that it has now.
      int pid = (int) ProcessHandle.current().pid();
      try (PidFd self = PidFd.open(pid)) {
        assertThat(new ForeignProcess(pid).sockets(self))
            .containsEntry(next.fd().number(), known());
        assertThat(new ForeignProcess(pid).listensAt(known(), pid, self)).isTrue();
      }
    }
    Files.delete(known());
    assertThatThrownBy(() -> beside().take(FileUser.SELF)).hasMessageContaining("was removed");
  }

  /// QEMU removes its socket when it ends.
  @Test
  void itTakesThePlaceOfAFileThatIsGone() throws Exception {
    UnixSocket old = UnixSocket.listen(known(), 0600);
    try (UnixSocket _ = beside().listen(FileUser.SELF)) {
      old.close();
      Files.delete(known());
      beside().take(FileUser.SELF);
      UnixSocket.connect(known()).close();
    }
  }

  @Test
  void itBelongsToWhomTheOldOneDoes() throws Exception {
    if (Host.effectiveUid() != 0) {
      System.out.println("skipped: only root can give files away");
      Assumptions.abort();
    }
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwxrwxrwx"));
    FileUser user = new FileUser(1_999_000_001, 1_999_000_001, List.of());
    try (UnixSocket _ = UnixSocket.listen(known(), 0640);
        UnixSocket _ = beside().listen(user)) {
      assertThat(Files.readAttributes(beside().beside(), "unix:uid,gid", LinkOption.NOFOLLOW_LINKS))
          .isEqualTo(Files.readAttributes(known(), "unix:uid,gid"));
      beside().remove(user);
      assertThat(beside().beside()).doesNotExist();
    }
  }

  @Test
  void whatOthersHaveLeftIsSweptAway() throws Exception {
    List<String> words =
        List.of(
            "-chardev",
            "socket,id=m,path=" + known() + ",server=on,wait=off",
            "-mon",
            "chardev=m,id=monitor,mode=control");
    for (String name : List.of("monitor.sock.hf1-2", "monitor.sock.hfx-2", "other.hf1-2")) {
      Files.writeString(folder.resolve(name), "");
    }
    Files.writeString(known(), "");

    BesideSocket.sweep(launch(words, OptionalInt.empty()), FileUser.SELF);
    assertThat(folder.resolve("monitor.sock.hf1-2")).exists();
    BesideSocket.sweep(launch(words, OptionalInt.of(7)), FileUser.SELF);

    assertThat(folder.resolve("monitor.sock.hf1-2")).doesNotExist();
    for (String name : List.of("monitor.sock", "monitor.sock.hfx-2", "other.hf1-2")) {
      assertThat(folder.resolve(name)).exists();
    }
    assertThat(BesideSocket.of(launch(words, OptionalInt.of(7))))
        .containsExactly(new BesideSocket(known(), 7, 2));
    assertThat(BesideSocket.of(launch(words, OptionalInt.empty()))).isEmpty();
  }

  /// QEMU makes it itself, with its first instruction that is of use, and never again.
  @Test
  void aSpiceServerListensBesideTheSocketThatClientsKnow() {
    String spice = "disable-ticketing=on,unix=on,addr=";
    List<String> words = List.of("-spice", spice + known());
    Launch launch = launch(words, OptionalInt.empty());
    BesideSocket beside = new BesideSocket(known(), 0, 2);

    assertThat(BesideSocket.ofSpice(launch)).contains(beside);
    assertThat(BesideSocket.of(launch)).as("none that is passed").isEmpty();
    assertThat(BesideSocket.all(launch)).containsExactly(beside);
    assertThat(BesideSocket.ofSpice(launch(words, OptionalInt.of(7))))
        .contains(new BesideSocket(known(), 7, 2));
    QemuRelease release = (QemuRelease) launch.release();
    for (boolean waiting : new boolean[] {true, false}) {
      assertThat(CommandLine.of(launch, release, waiting))
          .containsSubsequence("-spice", spice + folder.resolve("monitor.sock.hf0-2"));
    }
    Launch silent = launch(List.of("-spice", "port=0"), OptionalInt.empty());
    assertThat(BesideSocket.ofSpice(silent)).isEmpty();
    assertThat(CommandLine.of(silent, release, true)).containsSubsequence("-spice", "port=0");
  }

  private Launch launch(List<String> words, OptionalInt borrowed) {
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            64L << 20,
            "pc-q35-7.2",
            "qemu64",
            AcceleratorWish.TCG,
            Optional.empty(),
            List.of(),
            List.of());
    try (MemFd memory = MemFd.create("test", 4096)) {
      Launch plain =
          new Launch(
              spec,
              QemuRelease.nameless(Path.of("/qemu")),
              Accelerator.TCG,
              memory,
              List.of(),
              folder,
              folder,
              2,
              _ -> {});
      AdoptedMachine machine =
          new AdoptedMachine(
              words, known(), Optional.empty(), List.of(), List.of(), Optional.empty(), borrowed);
      return new Launch(
          spec,
          plain.release(),
          plain.accelerator(),
          plain.memory(),
          List.of(),
          folder,
          folder,
          2,
          plain.confinement(),
          plain.events(),
          Optional.of(machine));
    }
  }

  @Test
  void aPathWithoutRoomForItIsNoPlaceForOne() {
    String folder = "/" + "x".repeat(60) + "/";
    assertThat(BesideSocket.fits(new SocketFile(folder + "y".repeat(30)))).isTrue();
    assertThat(BesideSocket.fits(new SocketFile(folder + "y".repeat(40)))).isFalse();
  }
}
