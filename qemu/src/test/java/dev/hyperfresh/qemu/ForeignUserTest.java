package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.linux.FileUser;
import dev.hyperfresh.linux.ProcFs;
import dev.hyperfresh.linux.Unprivileged;
import dev.hyperfresh.qemu.ForeignUser.Surroundings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// A daemon, process 1, and a QEMU, process 2, of a host that is a folder.
class ForeignUserTest {
  private static final int DAEMON = 1;
  private static final int QEMU = 2;
  private static final long ALL = 0x1ffffffffffL;

  @TempDir Path root;

  @BeforeEach
  void host() throws IOException {
    Files.createDirectories(root.resolve("cgroup/memory/vm"));
    Files.writeString(root.resolve("cgroup/memory/vm/cgroup.procs"), "");
    Files.createDirectory(root.resolve("netns"));
    for (int pid : new int[] {DAEMON, QEMU}) {
      Files.createDirectories(root.resolve(pid + "/attr"));
      Files.writeString(
          root.resolve(pid + "/limits"),
          "Max open files            1024                 4096                 files     \n");
      Files.writeString(root.resolve(pid + "/oom_score_adj"), "0\n");
      Files.writeString(root.resolve(pid + "/cgroup"), "3:memory:/vm\n0::/\n");
      Files.writeString(root.resolve(pid + "/attr/current"), "unconfined\n");
      for (String kind : List.of("user", "pid", "time", "net", "mnt", "uts")) {
        namespace(pid, kind, kind + ":[1]");
      }
      rights(pid, 0, 0, ALL, ALL);
    }
  }

  private void rights(int pid, int uid, int gid, long permitted, long bounding) throws IOException {
    Files.writeString(
        root.resolve(pid + "/status"),
        """
        Uid:\t%1$d\t%1$d\t%1$d\t%1$d
        Gid:\t%2$d\t%2$d\t%2$d\t%2$d
        Groups:\t108 36
        CapInh:\t0000000000000000
        CapPrm:\t%3$016x
        CapEff:\t%3$016x
        CapBnd:\t%4$016x
        CapAmb:\t0000000000000000
        """
            .formatted(uid, gid, permitted, bounding));
  }

  private Path namespace(int pid, String kind, String name) throws IOException {
    Path link = root.resolve(pid + "/ns").resolve(kind);
    Files.createDirectories(link.resolveSibling(""));
    Files.deleteIfExists(link);
    return Files.createSymbolicLink(link, Path.of(name));
  }

  private ForeignUser of() throws IOException {
    Surroundings host =
        new Surroundings(new ProcFs(root), root.resolve("cgroup"), root.resolve("netns"));
    return ForeignUser.of(host, QEMU, DAEMON);
  }

  @Test
  void whoeverRunsAsTheDaemonIsStartedAsTheDaemon() throws Exception {
    // A shell of root has groups that a service of root has not.
    namespace(QEMU, "uts", "uts:[7]");
    ForeignUser who = of();

    assertThat(who.ours()).isTrue();
    assertThat(who.runAs()).isEmpty();
    assertThat(who.reasons()).isEmpty();
    assertThat(who.remarks()).isEmpty();
    assertThat(who.files()).isSameAs(FileUser.SELF);
  }

  @Test
  void anotherUserIsKeptByARootDaemon() throws Exception {
    rights(QEMU, 64055, 106, 0, ALL);
    ForeignUser who = of();

    assertThat(who.ours()).isFalse();
    RunAs runAs = who.runAs().orElseThrow();
    assertThat(runAs.rights().uid()).isEqualTo(64055);
    assertThat(runAs.rights().groups()).containsExactly(108, 36);
    assertThat(runAs.network()).isEmpty();
    assertThat(runAs.cgroups().folders()).containsExactly(root.resolve("cgroup/memory/vm"));
    assertThat(who.files()).isEqualTo(new FileUser(64055, 106, List.of(108, 36)));
    assertThat(who.reasons()).hasSize(Unprivileged.obstacle().isPresent() ? 1 : 0);
    assertThat(who.remarks()).isEmpty();
  }

  @Test
  void anotherUserIsRefusedByAnyOtherDaemon() throws Exception {
    rights(DAEMON, 1000, 1000, 0, ALL);
    rights(QEMU, 64055, 106, 0, ALL);
    namespace(QEMU, "pid", "pid:[7]");
    ForeignUser who = of();

    assertThat(who.runAs()).isEmpty();
    assertThat(who.files()).isSameAs(FileUser.SELF);
    assertThat(who.reasons())
        .singleElement()
        .asString()
        .contains("runs as user 64055", "run as user 1000", "run the daemon as root");
  }

  @Test
  void rootWithFewerCapabilitiesKeepsThose() throws Exception {
    rights(QEMU, 0, 0, 0x1400, ALL);

    assertThat(of().runAs().orElseThrow().rights().permitted()).isEqualTo(0x1400);
    assertThat(of().ours()).isFalse();
    assertThat(of().remarks()).isEmpty();
  }

  @Test
  void aLabelIsKept() throws Exception {
    Files.writeString(root.resolve(QEMU + "/attr/current"), "libvirt-57d0 (enforce)\n");

    assertThat(of().runAs().orElseThrow().rights().label().orElseThrow().name())
        .isEqualTo("libvirt-57d0");
    assertThat(of().ours()).isFalse();
  }

  @Test
  void capabilitiesThatNoProgramInheritsAreLost() throws Exception {
    rights(QEMU, 64055, 106, 0x1400, ALL);

    assertThat(of().remarks()).singleElement().asString().contains("capabilities 10, 12,");
  }

  @ParameterizedTest
  @ValueSource(strings = {"user", "pid", "time"})
  void aContainersProcessIsRefused(String kind) throws Exception {
    namespace(QEMU, kind, kind + ":[7]");

    assertThat(of().reasons())
        .singleElement()
        .asString()
        .contains("another " + kind + " namespace", "container");
    // What cannot be seen is not known to be the same.
    Files.delete(root.resolve(QEMU + "/ns/" + kind));
    assertThat(of().reasons()).hasSize(1);
    // A kernel without it has none of them.
    Files.delete(root.resolve(DAEMON + "/ns/" + kind));
    assertThat(of().reasons()).isEmpty();
  }

  /// Paths of such a process are others here, whatever its rights are.
  @Test
  void whoeverHasAnotherViewOfFilesIsNotOurs() throws Exception {
    namespace(QEMU, "mnt", "mnt:[7]");

    assertThat(of().ours()).isFalse();
    assertThat(of().reasons()).isEmpty();
  }

  @Test
  void aDaemonThatIsNotRootAdoptsWhatHasItsRights() throws Exception {
    rights(DAEMON, 1000, 1000, 0, ALL);
    rights(QEMU, 1000, 1000, 0, ALL);
    assertThat(of().ours()).isTrue();
    assertThat(of().reasons()).isEmpty();

    Files.writeString(root.resolve(QEMU + "/attr/current"), "libvirt-57d0 (enforce)\n");
    assertThat(of().ours()).isFalse();
    assertThat(of().reasons()).singleElement().asString().contains("run the daemon as root");
  }

  @Test
  void aMountNamespaceIsLeft() throws Exception {
    rights(QEMU, 64055, 106, 0, ALL);
    namespace(QEMU, "mnt", "mnt:[7]");

    assertThat(of().remarks()).singleElement().asString().contains("another mount namespace");
  }

  @Test
  void aNetworkNamespaceIsFoundByItsName() throws Exception {
    Path file = Files.createFile(root.resolve("namespace"));
    namespace(QEMU, "net", file.toString());
    assertThat(of().runAs().flatMap(RunAs::network)).contains(RunAs.NAMELESS);

    Files.createFile(root.resolve("netns/other"));
    Files.createLink(root.resolve("netns/blue"), file);
    assertThat(of().runAs().flatMap(RunAs::network)).contains(root.resolve("netns/blue"));
    // The rights are the daemon's.
    assertThat(of().ours()).isTrue();
    assertThat(of().reasons()).isEmpty();
  }
}
