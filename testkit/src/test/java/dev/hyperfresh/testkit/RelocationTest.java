package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.daemon.Views;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.KvmProbe;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmSettings;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A container with an open connection moves between operating systems, or stays where it is.
///
/// Two operating systems serve all tests; the one that ends one of them comes last.
@Tag("slow")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RelocationTest {
  private static final String ADDRESS = "10.78.0.5";
  private static final String LATE_ADDRESS = "10.78.0.9";

  /// An OS takes its time from a clock of whole seconds.
  private static final double MOST_CLOCK_MS = 20;

  private static final Pattern CLOCK =
      Pattern.compile("(?s).*tv_sec: *([0-9]+).*tv_usec: *([0-9]+).*");
  private static final String ADDRESS6 = "fd78::5";
  private static final int MEBIBYTES = 64;
  private static final int LARGE_MEBIBYTES = 384;
  private static final Duration LIMIT = Duration.ofSeconds(30);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private static final Witness WITNESS = new Witness();

  private static Optional<TestNetwork> network = Optional.empty();
  private static Optional<Systems> systems = Optional.empty();

  @BeforeAll
  static void boot() throws IOException {
    TestNetwork made = TestNetwork.create();
    network = Optional.of(made);
    made.ip("link", "set", "lo", "up");
    made.ip("link", "add", "br0", "type", "bridge");
    made.ip("addr", "add", "10.78.0.1/24", "dev", "br0");
    made.ip("addr", "add", "fd78::1/64", "dev", "br0", "nodad");
    made.ip("link", "set", "br0", "up");
    Path run = Files.createDirectories(WORKSPACE.state().resolve("run"));
    Systems all = new Systems(WORKSPACE.state(), run, WITNESS);
    systems = Optional.of(all);
    create("older", "6.1");
    create("newer", "6.12");
    Path bundle = ContainerBundle.build(WORKSPACE.state().resolve("bundle"), MEBIBYTES, 1);
    ContainerSpec spec =
        new ContainerSpec(
            "c1",
            bundle,
            Optional.of(
                new ContainerSpec.Network(
                    Optional.of(ADDRESS + "/24"),
                    Optional.empty(),
                    Optional.of("br0"),
                    Optional.of(ADDRESS6 + "/64"),
                    Optional.of("fd78::1"),
                    List.of("fd78::1"))));
    Container container = made.within(() -> all.run(spec, "older", Progress.NONE));
    assertThat(container.state()).isInstanceOf(ContainerState.Running.class);
  }

  @AfterAll
  static void end() {
    systems.ifPresent(Systems::close);
    network.ifPresent(TestNetwork::close);
  }

  private static OsVm create(String name, String kernel) {
    OsVm os =
        systems()
            .create(
                new VmSettings<>(
                    name,
                    OsDaemon.release(kernel),
                    Workshop.release("qemu-10.0"),
                    Workshop.KVM.verdict() == KvmProbe.Verdict.USABLE
                        ? Accelerator.KVM
                        : Accelerator.TCG,
                    2,
                    1L << 30));
    // What it says of a rehearsal that failed is in the log of the test; here it is an error.
    assertThat(os.run(List.of("/usr/lib/hyperfresh/rehearse"), LIMIT)).isEqualTo("rehearsed");
    double clockMs = clockOffsetMs(os);
    System.out.printf(
        Locale.ROOT,
        "  %s runs Linux %s: up after %.1f s, its clock %.3f ms from the host's%n",
        name,
        os.settings().release().kernelVersion(),
        os.bootMs() / 1000,
        clockMs);
    assertThat(Math.abs(clockMs)).isLessThan(MOST_CLOCK_MS);
    return os;
  }

  /// By a program in it, whose start and end are seen from here: the least of some, since it takes
  /// some milliseconds.
  private static double clockOffsetMs(OsVm os) {
    double least = Double.MAX_VALUE;
    for (int i = 0; i < 5; i++) {
      double before = System.currentTimeMillis();
      String said = os.run(List.of("sh", "-c", "adjtimex | grep -E 'tv_(u)?sec'"), LIMIT);
      double after = System.currentTimeMillis();
      Matcher clock = CLOCK.matcher(said);
      assertThat(clock.matches()).as(said).isTrue();
      double inside = Long.parseLong(clock.group(1)) * 1e3 + Long.parseLong(clock.group(2)) / 1e3;
      double offset = inside < before ? inside - before : Math.max(0, inside - after);
      if (Math.abs(offset) < Math.abs(least)) {
        least = offset;
      }
    }
    return least;
  }

  private static Systems systems() {
    return systems.orElseThrow();
  }

  private static OutageClient client() {
    return client(ADDRESS);
  }

  private static OutageClient client(String address) {
    return network
        .orElseThrow()
        .within(() -> {
          try {
            return OutageClient.open(
                new InetSocketAddress(address, ContainerBundle.PORT), Duration.ofMinutes(1));
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  private static RelocationRecord relocate(String to, Progress progress) {
    return network
        .orElseThrow()
        .within(() -> systems().relocate("c1", to, Transport.MAPPED, progress));
  }

  @Test
  @Order(1)
  void itMovesThereAndBackWithItsMemoryAndItsConnection() {
    try (OutageClient client = client();
        OutageClient client6 = client(ADDRESS6)) {
      assertThat(client.isMemoryGood()).isTrue();
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
        assertThat(client.isMemoryGood()).isTrue();
        assertThat(client6.isMemoryGood()).isTrue();
        assertThat(client6.fault()).isEmpty();
        assertThat(client.kernel())
            .isEqualTo(systems().get(to).settings().release().kernelRelease());
        assertThat(move.memoryBytes()).isGreaterThan((long) MEBIBYTES << 20);
        assertThat(move.drain().pages() * 4096).isGreaterThan((long) MEBIBYTES << 20);
        assertThat(move.frozenBytes()).isLessThan(move.memoryBytes() / 100);
        // What has left is given back to the host.
        assertThat(left.populatedBytes()).isLessThan(before - ((long) MEBIBYTES << 20) * 3 / 4);
        assertThat(systems().container("c1").os().name()).isEqualTo(to);
        String kernel = client.kernel();
        Workshop.await(
            "a line from the new kernel",
            Duration.ofSeconds(20),
            () -> systems().log("c1").contains("on " + kernel));
        assertThat(systems().execute("c1", List.of("/bin/app")).output()).contains("usage");
        assertOrdinary(systems().get(to));
        Workshop.await(
            "the last word: " + WITNESS.lines(),
            Duration.ofSeconds(5),
            () -> WITNESS.last("c1").equals("c1 running in " + to));
        assertThat(WITNESS.lines()).contains("os older came", "c1 moved to " + to + ": committed");
      }
    }
  }

  /// What was first while the container stood is ordinary again: of all processes but the agent and
  /// the kernel's none has another policy, and the container's group its weight.
  private static void assertOrdinary(OsVm os) {
    String policies =
        "cat /proc/[0-9]*/task/*/stat 2>/dev/null | sed 's/ (.*) / /'"
            + " | awk '$1 > 2 && $3 != 2 && $40 != 0'; cat /sys/fs/cgroup/c1/cpu.weight";
    assertThat(os.run(List.of("sh", "-c", policies), LIMIT).strip()).isEqualTo("100");
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
      assertThat(client.isMemoryGood()).isTrue();
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
    assertThat(systems().containers()).hasSize(1);

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
      assertThat(client.isMemoryGood()).isTrue();
    }
  }

  private static void assertRefused(Problem problem, ThrowingCallable order) {
    assertThatThrownBy(order)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem));
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
        assertThat(client.isMemoryGood()).isTrue();
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
    Path bundle = ContainerBundle.late(WORKSPACE.state().resolve("late"), 4);
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
              systems().relocate("late", "newer", Transport.MAPPED, (_, text) -> steps.add(text)));
      assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
      assertThat(steps).anyMatch(step -> step.contains("has not accepted a connection yet"));
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

  private static Socket connected(TestNetwork net) {
    return net.within(() -> {
      try {
        Socket client = new Socket();
        client.connect(new InetSocketAddress(LATE_ADDRESS, ContainerBundle.PORT), 10_000);
        client.setSoTimeout(10_000);
        return client;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    });
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
      assertThat(client.isMemoryGood()).isTrue();
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
      assertThat(client.isMemoryGood()).isTrue();
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
      assertThat(client.isMemoryGood()).isTrue();
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
      assertThat(client.isMemoryGood()).isTrue();
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
      assertThat(os.run(List.of("ls", "/sys/fs/cgroup"), LIMIT)).doesNotContain("c2");
    }
    assertRefused(Problem.CONTAINER_STATE, () -> systems().execute("c2", List.of("/bin/app")));
    systems().stop("c2", Duration.ZERO);
    systems().remove("c2", false);
    assertThat(systems().views()).hasSize(1);
  }

  private static void assertRolledBack(RelocationRecord move, OutageClient client) {
    assertThat(move.outcome()).isEqualTo("rolled-back");
    assertThat(Views.relocation(move))
        .containsEntry("problem", Problem.RELOCATE_ROLLED_BACK.code());
    System.out.println("  rolled back: " + move.detail());
    assertThat(systems().container("c1").os().name()).isEqualTo("older");
    assertThat(systems().container("c1").state()).isInstanceOf(ContainerState.Running.class);
    assertThat(client.isMemoryGood()).isTrue();
    assertThat(client.fault()).isEmpty();
    assertThat(systems().execute("c1", List.of("/bin/app")).output()).contains("usage");
    assertOrdinary(systems().get("older"));
  }

  private static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
