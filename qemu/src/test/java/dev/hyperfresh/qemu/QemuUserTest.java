package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.AdoptedMachine;
import dev.hyperfresh.hypervisor.AdoptedMachine.RunAs;
import dev.hyperfresh.hypervisor.Confinement;
import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.MemoryPart;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Cgroup;
import dev.hyperfresh.linux.CgroupPlace;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.ProcessRights;
import dev.hyperfresh.linux.ProcessRights.Label;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// With which rights the instances of a guest start that was adopted from another user.
class QemuUserTest {
  private static final ProcessRights RIGHTS =
      new ProcessRights(
          1_999_000_001,
          106,
          List.of(36),
          0,
          0,
          0,
          0,
          Map.of(),
          0,
          Optional.of(new Label("apparmor", "libvirt-57d0")));

  @TempDir Path folder;

  private List<Path> groups = List.of();

  private final MemFd memory = MemFd.create("test", 1 << 20);

  @AfterEach
  void close() {
    memory.close();
  }

  private Launch launch(QemuRelease release) {
    return launch(release, 3, 2);
  }

  /// @param descriptor of the memory of the first process
  private Launch launch(QemuRelease release, int descriptor, int generation) {
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
    AdoptedMachine machine =
        new AdoptedMachine(
            List.of("-nodefaults"),
            folder.resolve("q"),
            Optional.empty(),
            List.of(new AdoptedMachine.Memory(descriptor, MemoryPart.ordinary(64L << 20))),
            List.of(),
            Optional.of(new RunAs(RIGHTS, new CgroupPlace(groups), Optional.empty())));
    return new Launch(
        spec,
        release,
        Accelerator.TCG,
        GuestMemory.of(memory),
        List.of(),
        folder,
        folder,
        generation,
        Confinement.NONE,
        _ -> {},
        Optional.of(machine));
  }

  private QemuRelease release() throws IOException {
    Path home = Files.createDirectory(folder.resolve("release"));
    Path binary = Files.copy(Path.of("/bin/true"), home.resolve("qemu"));
    mode(folder, "rwx--x--x");
    mode(home, "rwxr-xr-x");
    mode(binary, "rwxr-xr-x");
    return QemuRelease.nameless(binary);
  }

  @Test
  void whatRunsBeforeQemuHasNoLabel() throws Exception {
    QemuRelease release = release();
    QemuUser user = QemuUser.of(launch(release));

    List<String> command = user.command(user.labelled(List.of("qemu", "-S")), release);
    assertThat(command).containsSubsequence("/usr/bin/setpriv", "--reuid", "1999000001", "--");
    assertThat(command)
        .endsWith("/usr/bin/setpriv", "--apparmor-profile", "libvirt-57d0", "--", "qemu", "-S");
    assertThat(user.environment(release)).containsOnlyKeys("LC_ALL", "PATH");
  }

  /// Only what a copy fills would not fit in beside the process that is copied.
  @Test
  void allButTheTargetOfACopyAreInTheControlGroupsFromTheirStart() throws Exception {
    QemuRelease release = release();
    int copied = AdoptedMachine.Memory.PRIVATE;

    assertThat(QemuUser.groups(launch(release, copied, 2), true)).isEmpty();
    assertThat(QemuUser.groups(launch(release, copied, 3), true)).isPresent();
    assertThat(QemuUser.groups(launch(release, copied, 2), false)).isPresent();
    assertThat(QemuUser.groups(launch(release, 3, 2), true)).isPresent();
  }

  /// A start waits for nothing to end that would make room.
  @Test
  void nothingIsStartedOutsideOfItsUsersBounds() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    Path group = Files.createDirectory(folder.resolve("group"));
    Files.writeString(group.resolve("cgroup.procs"), "");
    Files.writeString(group.resolve("pids.max"), "100\n");
    Files.writeString(group.resolve("pids.current"), "90\n");
    groups = List.of(group);
    Launch launch = launch(release());

    Qemu qemu = new Qemu();
    assertThatThrownBy(
            () -> {
              var _ = qemu.start(launch);
            })
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_START))
        .hasMessageContaining(group + " has no room for one more (pids.max is 100)")
        .hasMessageContaining("raise its bound");
    Files.writeString(group.resolve("pids.max"), "max\n");
    assertThat(QemuUser.narrow(launch)).isEmpty();
  }

  /// Their user may remove the groups, or narrow them, when a process is to be put there.
  @Test
  void whatItsGroupsDoNotTakeIsBoundedAllTheSame() throws Exception {
    groups = List.of(folder.resolve("gone"));
    Launch launch = launch(release());
    Optional<Cgroup> possible = new GuestGroups(launch, 0).own();
    if (Unprivileged.obstacle().isPresent() || possible.isEmpty()) {
      System.out.println("skipped: needs root and control groups");
      Assumptions.abort();
    }
    assertThat(QemuUser.narrow(launch)).as("a first process has another group").isEmpty();
    Process process = new ProcessBuilder("sleep", "60").start();
    Process servant = new ProcessBuilder("sleep", "60").start();
    GuestGroups where = new GuestGroups(launch, (int) process.pid());
    Cgroup own = where.own().orElseThrow();
    try {
      where.enter(false);
      assertThat(own.holds(where.pid())).isTrue();
      where.add((int) servant.pid());
      assertThat(own.processes()).containsExactlyInAnyOrder(where.pid(), (int) servant.pid());
      assertThat(where.describe(new CgroupPlace(groups))).contains("not in all", own.toString());
      assertThat(where.settle()).as("it is tried again").isPresent();
      assertThat(own.holds(where.pid())).isTrue();
    } finally {
      process.destroyForcibly().waitFor();
      servant.destroyForcibly().waitFor();
      where.removeOwn();
    }
    assertThat(own.exists()).isFalse();
  }

  @Test
  void aReleaseThatTheUserCannotReadIsNotRunByTheDaemonsUserInstead() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    QemuRelease release = release();
    Launch launch = launch(release);
    assertThat(QemuUser.obstacle(launch, release)).isEmpty();

    mode(release.binary().resolveSibling(""), "rwx------");

    assertThat(QemuUser.obstacle(launch, release))
        .hasValueSatisfying(
            why -> assertThat(why).contains("user 1999000001", "may not read " + release.binary()));
    for (boolean waiting : new boolean[] {false, true}) {
      Qemu qemu = new Qemu();
      assertThatThrownBy(
              () -> {
                var _ = waiting ? qemu.startWaiting(launch) : qemu.start(launch);
              })
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e ->
                  assertThat(e.problem())
                      .isEqualTo(waiting ? Problem.REPLACE_PREPARE : Problem.GUEST_START))
          .hasMessageContaining("may not read");
    }
  }

  private static void mode(Path path, String mode) throws IOException {
    Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
  }
}
