package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CgroupTest {
  private static final Path NAME = Path.of("hyperfresh", "web1");

  @TempDir Path mounted;

  @BeforeEach
  void nothing() {
    assertThat(Cgroup.at(mounted, NAME)).isEmpty();
  }

  @Test
  void versionTwoIsOneFolderWhoseControllersAreSwitchedOn() throws Exception {
    Files.writeString(mounted.resolve("cgroup.controllers"), "cpuset cpu io memory pids\n");
    Cgroup cgroup = Cgroup.at(mounted, NAME).orElseThrow();

    cgroup.create(100 << 20, 20);
    cgroup.add(4711);

    for (String folder : new String[] {"", "hyperfresh"}) {
      assertThat(mounted.resolve(folder).resolve("cgroup.subtree_control"))
          .hasContent("+memory +pids");
    }
    assertThat(mounted.resolve("hyperfresh/web1/memory.max")).hasContent("104857600");
    assertThat(mounted.resolve("hyperfresh/web1/pids.max")).hasContent("20");
    assertThat(mounted.resolve("hyperfresh/web1/cgroup.procs")).hasContent("4711");
    assertThat(cgroup.holds(4711)).isTrue();
    assertThat(cgroup.holds(471)).isFalse();
  }

  /// Where the root belongs to systemd.
  @Test
  void belowADelegatedGroupNothingAboveItIsTouched() throws Exception {
    Path unit =
        Files.createDirectories(mounted.resolve("hyperfresh.slice/hyperfresh-guests.service"));
    for (Path group : new Path[] {mounted, unit.getParent(), unit}) {
      Files.writeString(group.resolve("cgroup.controllers"), "memory pids\n");
    }
    Cgroup cgroup = Cgroup.at(unit, NAME).orElseThrow();

    assertThat(cgroup.exists()).isFalse();
    cgroup.create(100 << 20, 20);

    assertThat(cgroup.exists()).isTrue();
    assertThat(unit.resolve("hyperfresh/web1/memory.max")).hasContent("104857600");
    assertThat(unit.resolve("cgroup.subtree_control")).hasContent("+memory +pids");
    assertThat(unit.resolveSibling("cgroup.subtree_control")).doesNotExist();
    assertThat(mounted.resolve("cgroup.subtree_control")).doesNotExist();
    assertThat(mounted.resolve("hyperfresh")).doesNotExist();
  }

  @Test
  void versionOneIsAFolderInEachHierarchy() throws Exception {
    for (String controller : new String[] {"memory", "pids"}) {
      Files.createFile(Files.createDirectory(mounted.resolve(controller)).resolve("cgroup.procs"));
    }
    // As many hosts have it: version 2 is mounted, and has no controllers.
    Files.createFile(
        Files.createDirectory(mounted.resolve("unified")).resolve("cgroup.controllers"));
    Cgroup cgroup = Cgroup.at(mounted, NAME).orElseThrow();

    cgroup.create(100 << 20, 20);
    cgroup.add(4711);

    assertThat(mounted.resolve("memory/hyperfresh/web1/memory.limit_in_bytes"))
        .hasContent("104857600");
    assertThat(mounted.resolve("pids/hyperfresh/web1/pids.max")).hasContent("20");
    assertThat(mounted.resolve("memory/hyperfresh/web1/cgroup.procs")).hasContent("4711");
    assertThat(mounted.resolve("pids/hyperfresh/web1/cgroup.procs")).hasContent("4711");
    assertThat(cgroup.holds(4711)).isTrue();
  }

  @Test
  void versionOneWithoutBothControllersIsNone() throws Exception {
    Files.createFile(Files.createDirectory(mounted.resolve("memory")).resolve("cgroup.procs"));

    assertThat(Cgroup.at(mounted, NAME)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"/etc", "../up", "a/../../up", "a/.."})
  void aNameThatLeadsElsewhereIsRefused(String name) {
    assertThatThrownBy(() -> Cgroup.at(mounted, Path.of(name)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aRealGroupBoundsARealProcess() throws Exception {
    Optional<Cgroup> real =
        Cgroup.at(Cgroup.MOUNTED, Path.of("hyperfresh-test", "t" + ProcessHandle.current().pid()));
    if (Host.effectiveUid() != 0 || real.isEmpty()) {
      System.out.println("skipped: control groups need root and both controllers");
      Assumptions.abort();
    }
    Cgroup cgroup = real.get();
    try {
      cgroup.create(64 << 20, 4);
    } catch (UncheckedIOException e) {
      System.out.println("skipped: " + e.getMessage());
      Assumptions.abort();
    }
    // Waits for a line, and then starts more processes than the group may have.
    Process shell =
        new ProcessBuilder(
                "sh", "-c", "read go; for i in 1 2 3 4 5 6; do sleep 5 & done; wait; echo all")
            .redirectErrorStream(true)
            .start();
    try {
      cgroup.add((int) shell.pid());
      assertThat(cgroup.holds((int) shell.pid())).isTrue();
      assertThatThrownBy(cgroup::remove).isInstanceOf(UncheckedIOException.class);
      shell.outputWriter().write("go\n");
      shell.outputWriter().flush();
      assertThat(shell.inputReader().readLine()).containsIgnoringCase("fork");
    } finally {
      shell.destroyForcibly().waitFor();
      // The shell gave up, so what it started has another parent.
      ProcessHandle.allProcesses()
          .filter(process -> cgroup.holds((int) process.pid()))
          .forEach(ProcessHandle::destroyForcibly);
      cgroup.remove();
      cgroup.remove();
    }
    assertThat(cgroup.holds((int) shell.pid())).isFalse();
  }
}
