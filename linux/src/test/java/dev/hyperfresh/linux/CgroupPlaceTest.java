package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CgroupPlaceTest {
  @TempDir Path root;

  private Path mounted = Path.of("");

  @BeforeEach
  void folders() throws IOException {
    mounted = Files.createDirectory(root.resolve("cgroup"));
    Files.createDirectories(root.resolve("proc/12"));
  }

  private CgroupPlace of(String text) throws IOException {
    Files.writeString(root.resolve("proc/12/cgroup"), text);
    return CgroupPlace.of(new ProcFs(root.resolve("proc")), mounted, 12);
  }

  private Path group(String path) throws IOException {
    Path folder = Files.createDirectories(mounted.resolve(path));
    Files.writeString(folder.resolve("cgroup.procs"), "12\n");
    return folder;
  }

  @Test
  void versionTwoHasOne() throws Exception {
    Files.writeString(mounted.resolve("cgroup.controllers"), "memory pids\n");
    Path scope = group("machine.slice/machine-qemu\\x2d1\\x2dweb1.scope");

    CgroupPlace place = of("0::/machine.slice/machine-qemu\\x2d1\\x2dweb1.scope\n");

    assertThat(place.folders()).containsExactly(scope);
    assertThat(place.holds(12)).isTrue();
    assertThat(place.take(13)).isEmpty();
    assertThat(scope.resolve("cgroup.procs")).hasContent("13");
    assertThat(place.holds(12)).isFalse();
  }

  /// As libvirt makes them: each processor has a group of its own, which takes threads alone.
  @Test
  void aGroupOfThreadsBelongsToOneOfProcesses() throws Exception {
    Files.writeString(mounted.resolve("cgroup.controllers"), "memory pids\n");
    Path scope = group("web1.scope/libvirt");
    Files.writeString(scope.resolve("cgroup.type"), "domain threaded\n");
    Files.writeString(group("web1.scope/libvirt/emulator").resolve("cgroup.type"), "threaded\n");

    assertThat(of("0::/web1.scope/libvirt/emulator\n").folders()).containsExactly(scope);
  }

  @Test
  void versionOneHasOneInEachHierarchy() throws Exception {
    Path memory = group("memory/vm");
    Path cpu = group("cpu,cpuacct/vm");
    Path systemd = group("systemd/user.slice");
    Path unified = group("unified");

    assertThat(
            of("4:memory:/vm\n3:cpu,cpuacct:/vm\n2:rdma:/\n1:name=systemd:/user.slice\n0::/\n")
                .folders())
        .containsExactly(memory, cpu, systemd, unified);
  }

  @Test
  void aPathOfAnotherNamespaceLeadsNowhere() throws Exception {
    group("memory");
    Files.writeString(root.resolve("cgroup.procs"), "");

    assertThat(of("4:memory:/../..\n3:../..:/\nnothing\n2:\n").folders()).isEmpty();
  }

  /// One that takes more than is left makes the kernel end the largest process in the group: the
  /// guest's.
  @Test
  void aNarrowGroupIsLeftAlone() throws Exception {
    Files.writeString(mounted.resolve("cgroup.controllers"), "memory pids\n");
    Path above = group("vm.slice");
    Path group = group("vm.slice/web1");
    CgroupPlace place = of("0::/vm.slice/web1\n");
    for (Path bounded : new Path[] {group, above}) {
      Files.writeString(bounded.resolve("memory.max"), "4294967296\n");
      Files.writeString(bounded.resolve("memory.current"), "4000000000\n");
      assertThat(place.take(13))
          .hasValueSatisfying(why ->
              assertThat(why).contains(bounded.toString(), "no room", "memory.max is 4294967296"));
      assertThat(place.narrow()).isPresent();
      assertThat(group.resolve("cgroup.procs")).hasContent("12");
      // Pages of files make room.
      Files.writeString(bounded.resolve("memory.stat"), "anon 1\ninactive_file 2000000000\n");
      Files.writeString(bounded.resolve("memory.current"), "4294967296\n");
      assertThat(place.take(12)).isEmpty();
      Files.delete(bounded.resolve("memory.stat"));
      Files.writeString(bounded.resolve("memory.current"), "1000000000\n");
    }
    Files.writeString(above.resolve("pids.max"), "100\n");
    Files.writeString(above.resolve("pids.current"), "90\n");
    assertThat(place.take(13)).isPresent();
    Files.writeString(above.resolve("pids.max"), "max\n");
    assertThat(place.take(13)).isEmpty();
    assertThat(group.resolve("cgroup.procs")).hasContent("13");
  }

  @Test
  void aGroupThatIsGoneIsSaid() throws Exception {
    Files.writeString(mounted.resolve("cgroup.controllers"), "memory pids\n");
    Path group = group("web1");
    CgroupPlace place = of("0::/web1\n");
    Files.delete(group.resolve("cgroup.procs"));
    Files.delete(group);

    assertThat(place.take(13)).hasValueSatisfying(why -> assertThat(why).contains("web1"));
    assertThat(place.holds(13)).isFalse();
    // A process that is not started yet would have no bounds there.
    assertThat(place.narrow()).hasValue(group + " is gone; make it again");
    assertThat(place.gone()).hasValue(group);
  }

  @Test
  void thisProcessIsInItsOwn() throws Exception {
    int self = (int) ProcessHandle.current().pid();
    CgroupPlace mine = CgroupPlace.of(ProcFs.HOST, Cgroup.MOUNTED, self);

    assertThat(mine.holds(self)).isTrue();
  }
}
