package dev.hyperfresh.testkit;

import static dev.hyperfresh.testkit.Refusals.assertRefused;
import static dev.hyperfresh.testkit.Workshop.join;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;

/// A container with an open connection moves between operating systems, or stays where it is.
///
/// Two operating systems serve all tests; the one that ends one of them comes last.
@Tag("slow")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RelocationTest extends RelocationScene {
  private static final String NOT_ACCEPTED = "has not accepted a connection yet";
  private static final int LARGE_MEBIBYTES = 384;

  @Test
  @Order(1)
  void itMovesThereAndBackWithItsMemoryAndItsConnection() {
    try (OutageClient client = client();
        OutageClient client6 = client(ADDRESS6)) {
      assertThat(client.verified()).startsWith("good ");
      for (String to : List.of("newer", "older")) {
        OsVm left = systems().container("c1").os();
        long before = left.populatedBytes();
        client.takeLongestMs();
        Workshop.pause(Duration.ofSeconds(1));
        double floor = client.takeLongestMs();

        RelocationRecord move = relocate(to, Progress.NONE);

        double outage = client.takeLongestMs();
        System.out.printf(
            Locale.ROOT,
            "  to %s: client waited %.0f ms (%.0f before); %s; %d bytes copied; %d pages at %.0f"
                + " MiB/s, %d faults%n",
            to,
            outage,
            floor,
            move.phasesMs(),
            move.frozenBytes(),
            move.drain().pages(),
            move.drain().mibPerSecond(),
            move.drain().faults());
        assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
        assertThat(client.fault()).isEmpty();
        assertThat(client.verified()).startsWith("good ");
        assertThat(client6.verified()).startsWith("good ");
        assertThat(client6.fault()).isEmpty();
        String kernel = systems().get(to).settings().release().kernelRelease();
        // Its last answer may be one that was on its way before.
        Workshop.await("an answer from " + to, LIMIT, () -> client.kernel().equals(kernel));
        assertThat(move.memoryBytes()).isGreaterThan((long) MEBIBYTES << 20);
        assertThat(move.drain().pages() * 4096).isGreaterThan((long) MEBIBYTES << 20);
        assertThat(move.frozenBytes()).isLessThan(move.memoryBytes() / 100);
        // What has left is given back to the host.
        assertThat(left.populatedBytes()).isLessThan(before - ((long) MEBIBYTES << 20) * 3 / 4);
        assertThat(systems().container("c1").os().name()).isEqualTo(to);
        Workshop.await(
            "a line from the new kernel",
            LIMIT,
            () -> systems().log("c1").contains("on " + kernel));
        assertThat(systems().execute("c1", List.of("/bin/app")).output()).contains("usage");
        assertOrdinary(systems().get(to));
        Workshop.await(
            "the last word: " + WITNESS.lines(),
            LIMIT,
            () -> WITNESS.last("c1").equals("c1 running in " + to));
        assertThat(WITNESS.lines()).contains("os older came", "c1 moved to " + to + ": committed");
      }
    }
  }

  @Test
  @Order(2)
  void whatIsRefusedBeforehandIsNotTouched() {
    assertThatThrownBy(() -> relocate("older", Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_PREFLIGHT))
        .hasMessageContaining("already");
    assertThatThrownBy(() -> relocate("nowhere", Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.OS_UNKNOWN));
    try (OutageClient client = client()) {
      assertThat(client.verified()).startsWith("good ");
    }
  }

  @Test
  @Order(2)
  void wrongOrdersAreRefusedAndChangeNothing() throws Exception {
    VmSettings<OsRelease> older = systems().get("older").settings();
    assertRefused(Problem.OS_EXISTS, () -> systems().create(older));
    assertRefused(Problem.OS_IN_USE, () -> systems().delete("older"));
    assertRefused(Problem.OS_UNKNOWN, () -> systems().delete("nobody"));
    ContainerSpec running = systems().container("c1").spec();
    assertRefused(Problem.CONTAINER_EXISTS, () -> systems().run(running, "newer", Progress.NONE));
    assertRefused(Problem.CONTAINER_UNKNOWN, () -> systems().log("nobody"));

    Path bundle = ContainerBundle.build(WORKSPACE.state().resolve("no-program"), 1, 0);
    Files.delete(bundle.resolve("rootfs/bin/app"));
    ContainerSpec broken = new ContainerSpec("c2", bundle, Optional.empty());
    assertThatThrownBy(() -> systems().run(broken, "older", Progress.NONE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> {
              assertThat(e.problem()).isEqualTo(Problem.CONTAINER_START);
              assertThat(e.detail()).contains("runc:", "/bin/app");
            });
    Workshop.await("one container", LIMIT, () -> systems().containers().size() == 1);

    OsRelease good = older.release();
    OsRelease silent =
        new OsRelease(
            "os-1+silent",
            good.kernelVersion(),
            good.kernelRelease(),
            good.userland(),
            good.criuVersion(),
            good.runcVersion(),
            good.kernel(),
            Path.of("/dev/null"),
            good.fileServer(),
            good.kernelSha256(),
            good.sha256(),
            good.sourcesSha256(),
            "a test");
    VmSettings<OsRelease> mute =
        new VmSettings<>("mute", silent, older.hardware(), older.accelerator(), 1, 256L << 20);
    assertRefused(Problem.OS_START, () -> systems().create(mute));
    assertThat(systems().find("mute")).isEmpty();
    try (OutageClient client = client()) {
      assertThat(client.verified()).startsWith("good ");
    }
  }

  /// Root in an OS does in a container's folder what it likes.
  @Test
  @Order(2)
  void anOsReachesNothingButTheFoldersOfItsContainers() throws Exception {
    String secret = "a secret of the host";
    Path canary = Files.writeString(WORKSPACE.state().resolve("canary"), secret);
    Path state = WORKSPACE.state().toAbsolutePath();
    OsVm older = systems().get("older");
    OsVm newer = systems().get("newer");
    assertThat(older.run(List.of("ls", "/containers"), LIMIT)).isEqualTo("c1");
    assertThat(newer.run(List.of("ls", "/containers"), LIMIT)).isEmpty();
    assertThat(newer.run(List.of("cat", "/proc/mounts"), LIMIT)).doesNotContain("virtiofs");
    String script =
        "cd /containers/c1; mv log log.real; ln -s "
            + canary.toAbsolutePath()
            + " log;"
            + " ln -s "
            + state
            + " images; mknod disk b 8 0 2>/dev/null; echo 'freed 0 262144' >freed;"
            + " for n in $(seq 40); do cp freed freed.w$n; done";
    older.run(List.of("sh", "-c", script), LIMIT);
    assertThat(state.resolve("containers/c1/share/disk")).doesNotExist();
    assertRefused(Problem.DAEMON_STATE, () -> systems().log("c1"));
    older.run(List.of("sh", "-c", "cd /containers/c1; rm log; mkfifo log"), LIMIT);
    assertRefused(Problem.DAEMON_STATE, () -> systems().log("c1"));
    older.run(List.of("sh", "-c", "cd /containers/c1; rm log; mv log.real log"), LIMIT);
    assertThat(systems().log("c1")).contains("on ");

    try (OutageClient client = client()) {
      // What is said of no frame, or by an earlier move, takes no memory away.
      for (String to : List.of("newer", "older")) {
        assertThat(relocate(to, Progress.NONE).outcome()).isEqualTo("committed");
        assertThat(client.verified()).startsWith("good ");
        String other = to.equals("newer") ? "older" : "newer";
        assertThat(systems().get(other).run(List.of("ls", "/containers"), LIMIT)).isEmpty();
      }
    }
    assertThat(canary).hasContent(secret);
    assertThat(state.resolve("os")).isDirectory();
  }

  /// Its clients were answered by the kernel, and know nothing of what the program has not done
  /// yet.
  @Test
  @Order(2)
  void connectionsThatAreNotAcceptedYetAreWaitedFor() throws Exception {
    Path bundle = ContainerBundle.late(WORKSPACE.state().resolve("late"));
    ContainerSpec spec =
        new ContainerSpec(
            "late",
            bundle,
            Optional.of(
                new ContainerSpec.Network(
                    LATE_ADDRESS + "/24", Optional.empty(), Optional.of("br0"))));
    TestNetwork net = network.orElseThrow();
    var _ = net.within(() -> systems().run(spec, "older", Progress.NONE));
    Workshop.await("late", LIMIT, () -> systems().log("late").contains("listening"));
    List<String> steps = new ArrayList<>();
    RelocationRecord move;
    try (Socket first = connected(net);
        Socket second = connected(net)) {
      move =
          net.within(() ->
              systems()
                  .relocate(
                      "late",
                      "newer",
                      Transport.MAPPED,
                      (_, text) -> {
                        steps.add(text);
                        acceptWhenWaitedFor(text);
                      }));
      assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
      assertThat(steps).anyMatch(step -> step.contains(NOT_ACCEPTED));
      for (Socket client : List.of(first, second)) {
        client.getOutputStream().write('\n');
        String kernel = systems().get("newer").settings().release().kernelRelease();
        byte[] answer = client.getInputStream().readNBytes(kernel.length());
        assertThat(new String(answer, StandardCharsets.US_ASCII)).isEqualTo(kernel);
      }
    }
    systems().stop("late", Duration.ZERO);
    systems().remove("late", false);
  }

  private static void acceptWhenWaitedFor(String step) {
    Path accept = WORKSPACE.state().resolve("containers/late/share/rootfs/accept");
    try {
      if (step.contains(NOT_ACCEPTED) && !Files.exists(accept)) {
        Files.createFile(accept);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  @Order(3)
  void aRestoreThatIsRefusedLeadsBack() {
    try (OutageClient client = client()) {
      // CRIU restores nothing there.
      systems().get("newer").run(List.of("mount", "--bind", "/bin/false", "/usr/sbin/criu"), LIMIT);
      RelocationRecord move;
      try {
        move = relocate("newer", Progress.NONE);
      } finally {
        systems().get("newer").run(List.of("umount", "/usr/sbin/criu"), LIMIT);
      }
      assertRolledBack(move, client);
      assertThat(move.detail()).contains("restore");
      // And nothing is in the way of the next one.
      assertThat(relocate("newer", Progress.NONE).outcome()).isEqualTo("committed");
      assertThat(relocate("older", Progress.NONE).outcome()).isEqualTo("committed");
      assertThat(client.verified()).startsWith("good ");
    }
  }

  @Test
  @Order(4)
  void aFreezeThatIsRefusedLeadsBack() {
    try (OutageClient client = client()) {
      systems().get("older").run(List.of("mount", "--bind", "/bin/false", "/usr/sbin/criu"), LIMIT);
      RelocationRecord move;
      try {
        move = relocate("newer", Progress.NONE);
      } finally {
        systems().get("older").run(List.of("umount", "/usr/sbin/criu"), LIMIT);
      }
      assertRolledBack(move, client);
      assertThat(move.detail()).contains("freeze");
    }
  }

  /// The list of pages is made when CRIU restores already; whoever makes it needs a mount
  /// namespace.
  @Test
  @Order(4)
  void aListThatCannotBeMadeLeadsBack() {
    String limit = "/proc/sys/user/max_mnt_namespaces";
    // CRIU's is the last that there can be.
    String oneMore = "n=1; while echo $n >" + limit + "; ! unshare -m true; do n=$((n + 1)); done";
    try (OutageClient client = client()) {
      systems().get("older").run(List.of("sh", "-c", oneMore), LIMIT);
      RelocationRecord move;
      try {
        move = relocate("newer", Progress.NONE);
      } finally {
        systems().get("older").run(List.of("sh", "-c", "echo 10000 >" + limit), LIMIT);
      }
      assertRolledBack(move, client);
      assertThat(move.detail()).contains("freeze").contains("unshare");
      // Not before all else was done.
      assertThat(move.phasesMs()).containsKey("freeze");
      assertThat(relocate("newer", Progress.NONE).outcome()).isEqualTo("committed");
      assertThat(relocate("older", Progress.NONE).outcome()).isEqualTo("committed");
      assertThat(client.verified()).startsWith("good ");
    }
  }

  @Test
  @Order(5)
  void anOsThatDiesWhileItGetsTheContainerLeadsBack() {
    try (OutageClient client = client()) {
      int pid = systems().get("newer").pid();
      Thread killer =
          Thread.ofPlatform()
              .start(() -> {
                Path images = WORKSPACE.state().resolve("containers/c1/share/images/pages");
                Workshop.await(
                    "the list of frames", Duration.ofMinutes(2), () -> Files.exists(images));
                try (PidFd os = PidFd.open(pid)) {
                  os.signal(Signals.KILL);
                }
              });
      RelocationRecord move = relocate("newer", Progress.NONE);
      join(killer);
      assertRolledBack(move, client);
      systems().delete("newer");
      create("newer", "6.12");
      assertThat(relocate("newer", Progress.NONE).outcome()).isEqualTo("committed");
      assertThat(client.verified()).startsWith("good ");
    }
  }

  @Test
  @Order(6)
  void theOldOsMayDieBeforeTheMemoryHasCome() {
    try (OutageClient client = client()) {
      int pid = systems().get("newer").pid();
      RelocationRecord move =
          relocate(
              "older",
              (state, _) -> {
                if (state.equals("Committed")) {
                  try (PidFd os = PidFd.open(pid)) {
                    os.signal(Signals.KILL);
                  }
                }
              });
      assertThat(move.outcome()).isEqualTo("committed");
      assertThat(client.verified()).startsWith("good ");
      assertThat(client.fault()).isEmpty();
    }
  }

  /// A container that has lost pages must not go on with zeros. It is large, so that its pages
  /// cannot all have come before the program that fetches them is killed.
  @Test
  @Order(7)
  void aContainerWhoseMemoryIsLostEnds() throws Exception {
    Path bundle = ContainerBundle.build(WORKSPACE.state().resolve("large"), LARGE_MEBIBYTES, 0);
    ContainerSpec large = new ContainerSpec("c2", bundle, Optional.empty());
    OsVm newest = create("newest", "6.12");
    var _ = systems().run(large, "older", Progress.NONE);
    Workshop.await(
        "all of its memory", Duration.ofMinutes(2), () -> systems().log("c2").contains("writes"));
    List<String> kill =
        List.of("/bin/sh", "-c", "read -r pid _ </run/containers/c2/restore/pid; kill -9 $pid");
    assertThatThrownBy(() ->
            systems()
                .relocate(
                    "c2",
                    "newest",
                    Transport.MAPPED,
                    (state, _) -> {
                      if (state.equals("Committed")) {
                        newest.run(kill, LIMIT);
                      }
                    }))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_LOST));
    Workshop.await("c2 is cleared up", LIMIT, () -> systems().view("c2").state().hasEnded());
    assertThat(systems().view("c2").state().how()).contains("lost in a move");
    Workshop.await("its end", LIMIT, () -> systems().containers().size() == 1);
    // Nothing of it is left in either.
    for (OsVm os : List.of(newest, systems().get("older"))) {
      Workshop.await(
          "nothing of c2 in " + os.name(),
          LIMIT,
          () -> !os.run(List.of("ls", "/sys/fs/cgroup"), LIMIT).contains("c2"));
    }
    assertRefused(Problem.CONTAINER_STATE, () -> systems().execute("c2", List.of("/bin/app")));
    systems().stop("c2", Duration.ZERO);
    systems().remove("c2", false);
    assertThat(systems().views()).hasSize(1);
  }
}
