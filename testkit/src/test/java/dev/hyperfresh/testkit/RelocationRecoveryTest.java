package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.ContainerState;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Transport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.RegisterExtension;

/// A container and its operating systems, whose daemon is killed, and the next one on its
/// directory.
///
/// Two operating systems, one container and one connection to it last for all tests.
@Tag("slow")
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class RelocationRecoveryTest {
  private static final String ADDRESS = "10.79.0.5";
  private static final int MEBIBYTES = 48;
  private static final Duration LIMIT = Duration.ofSeconds(60);
  private static final Progress NOBODY = Progress.NONE;
  private static final Duration BOOT = Duration.ofMinutes(5);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private static Optional<TestNetwork> network = Optional.empty();
  private static Optional<OutageClient> client = Optional.empty();
  private static Optional<OsDaemon> daemon = Optional.empty();
  private static int logs;

  @BeforeAll
  static void make() throws Exception {
    TestNetwork made = TestNetwork.create();
    network = Optional.of(made);
    made.ip("link", "set", "lo", "up");
    made.ip("link", "add", "br0", "type", "bridge");
    made.ip("addr", "add", "10.79.0.1/24", "dev", "br0");
    made.ip("link", "set", "br0", "up");
    Files.createDirectories(
        state().resolve("run"),
        PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    List.of("6.1", "6.12").forEach(OsDaemon::release);
    Path bundle = ContainerBundle.build(state().resolve("bundle"), MEBIBYTES, 1);
    Process first =
        launch(OsDaemon.class.getName(), state().toString(), ADDRESS + "/24", bundle.toString());
    try {
      awaitIn(first, BOOT, () -> said(OsDaemon.DONE));
      client =
          Optional.of(
              made.within(() -> {
                try {
                  return OutageClient.open(
                      new InetSocketAddress(ADDRESS, ContainerBundle.PORT), Duration.ofMinutes(1));
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }));
    } finally {
      first.destroyForcibly().waitFor();
    }
  }

  @AfterAll
  static void end() {
    client.ifPresent(OutageClient::close);
    daemon.ifPresent(last -> last.systems.close());
    // Of a test that failed before they were taken back.
    processes().forEach(ProcessHandle::destroyForcibly);
    network.ifPresent(TestNetwork::close);
  }

  /// All hardware and file servers: of two operating systems, and of the container in one of them.
  private static List<ProcessHandle> processes() {
    Path systems = state().resolve("os");
    return ProcessHandle.allProcesses()
        .filter(process -> {
          try {
            return Files.readSymbolicLink(Path.of("/proc", Long.toString(process.pid()), "fd", "2"))
                .startsWith(systems);
          } catch (IOException e) {
            return false;
          }
        })
        .toList();
  }

  private static Path state() {
    return WORKSPACE.state();
  }

  private static Path home() {
    return state().resolve("containers/c1/share");
  }

  private static Path log() {
    return state().resolve("daemon-" + logs + ".log");
  }

  private static boolean said(String text) {
    return Workshop.contains(log(), text);
  }

  /// A program of Java in the network of the container.
  private static Process launch(String program, String... arguments) throws IOException {
    logs++;
    List<String> line = new ArrayList<>(network.orElseThrow().prefix());
    line.addAll(CommandRun.command());
    line.set(line.size() - 1, program);
    line.addAll(List.of(arguments));
    return new ProcessBuilder(line)
        .redirectErrorStream(true)
        .redirectOutput(log().toFile())
        .start();
  }

  private static void awaitIn(Process process, Duration patience, BooleanSupplier condition) {
    Workshop.await(
        "what was expected in " + log(),
        patience,
        () -> condition.getAsBoolean() || !process.isAlive());
    assertThat(process.isAlive()).as(() -> read(log())).isTrue();
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return String.valueOf(e.getMessage());
    }
  }

  /// Takes everything back, in this process.
  private static OsDaemon takeBack() {
    OsDaemon next = network.orElseThrow().within(() -> OsDaemon.start(state()));
    daemon = Optional.of(next);
    return next;
  }

  private static void letGo() {
    daemon.orElseThrow().systems.letGo();
    daemon = Optional.empty();
  }

  /// Has another daemon move the container, and kills it when `moment` has come.
  private static void dieMoving(String to, BooleanSupplier moment) throws Exception {
    letGo();
    client().takeLongestMs();
    Process moving = launch(OsDaemon.class.getName(), state().toString(), to);
    try {
      awaitIn(moving, LIMIT, moment);
    } finally {
      moving.destroyForcibly().waitFor();
    }
    assertThat(said(OsDaemon.DONE)).isFalse();
  }

  private static OutageClient client() {
    return client.orElseThrow();
  }

  private static OsVm os(String name) {
    return daemon.orElseThrow().systems.get(name);
  }

  /// What `criu restore` in an OS does when it has been told to go, before it does its work; or
  /// nothing special again. Before that it waits for its first image, as the real one.
  private static void beforeRestore(String os, String step) {
    os(os).run(List.of("sh", "-c", "umount /usr/sbin/criu 2>/dev/null || true"), LIMIT);
    if (!step.isEmpty()) {
      String script =
          "cp /usr/sbin/criu /tmp/criu.real && printf '%s\\n' '#!/bin/sh'"
              + " '[ \"$1\" != restore ] || { exec 5</run/containers/c1/restore/begin; "
              + "until [ -e /run/containers/c1/restore/images/pstree.img ]; do usleep 10000; done; "
              + step
              + "; }' 'exec /tmp/criu.real \"$@\"' >/tmp/criu && chmod 755 /tmp/criu"
              + " && mount --bind /tmp/criu /usr/sbin/criu";
      os(os).run(List.of("sh", "-c", script), LIMIT);
    }
  }

  /// What is done in an OS when a container is restored there, before and after it is told to run;
  /// or nothing special again.
  private static void aroundGate(String os, String before, String after) {
    String gate = "/usr/lib/hyperfresh/gate";
    os(os).run(List.of("sh", "-c", "umount " + gate + " 2>/dev/null || true"), LIMIT);
    if (!before.isEmpty()) {
      String script =
          "cp "
              + gate
              + " /tmp/gate.real && printf '%s\\n' '#!/bin/sh'"
              + " '[ \"$CRTOOLS_SCRIPT_ACTION\" = post-restore ] || exit 0'"
              + " '"
              + before
              + "; /tmp/gate.real || exit 1; "
              + after
              + "' >/tmp/gate && chmod 755 /tmp/gate && mount --bind /tmp/gate "
              + gate;
      os(os).run(List.of("sh", "-c", script), LIMIT);
    }
  }

  private static void assertRunsIn(String os) {
    OsDaemon now = daemon.orElseThrow();
    Container container = now.systems.container("c1");
    assertThat(container.os().name()).as(String.join(" / ", now.told)).isEqualTo(os);
    assertThat(container.state()).isInstanceOf(ContainerState.Running.class);
    assertThat(client().isMemoryGood()).as(client().fault()).isTrue();
    assertThat(client().fault()).isEmpty();
    System.out.printf(Locale.ROOT, "  client waited %.0f ms%n", client().takeLongestMs());
    assertThat(client().kernel()).isEqualTo(os(os).settings().release().kernelRelease());
    assertThat(now.systems.execute("c1", List.of("/bin/app")).output()).contains("usage");
    assertThat(Files.exists(home().resolve("images"))).isFalse();
    assertThat(read(state().resolve("placements/c1.json"))).contains("\"move\":null");
    // Neither sees the other's memory any more.
    assertThat(maps("older", "newer")).isFalse();
    assertThat(maps("newer", "older")).isFalse();
    String other = os.equals("older") ? "newer" : "older";
    assertThat(os(other).run(List.of("ls", "/sys/fs/cgroup"), LIMIT)).doesNotContain("c1");
    assertThat(os(other).run(List.of("cat", "/proc/mounts"), LIMIT))
        .doesNotContain("/containers/c1 ");
    assertThat(Files.exists(state().resolve("os").resolve(other).resolve("files/c1.json")))
        .isFalse();
    // Each container has a file server.
    assertThat(processes()).hasSize(2 + now.systems.containers().size());
  }

  private static boolean maps(String os, String other) {
    return read(Path.of("/proc", Integer.toString(os(os).pid()), "maps"))
        .contains("/memfd:hf-os-" + other + " ");
  }

  private static void assertMoves(String to) {
    RelocationRecord move =
        network
            .orElseThrow()
            .within(() ->
                daemon.orElseThrow().systems.relocate("c1", to, Transport.MAPPED, Progress.NONE));
    assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
    assertRunsIn(to);
  }

  @Test
  @Order(1)
  void theNextDaemonTakesOsAndContainerBackAndMovesIt() throws IOException {
    assertThat(processes()).hasSize(3);
    takeBack();
    assertRunsIn("older");
    assertThat(Files.getPosixFilePermissions(state().resolve("os/older/vm.json")))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    assertThat(daemon.orElseThrow().systems.log("c1")).contains("on " + client().kernel());
    assertMoves("newer");
    assertMoves("older");
  }

  @Test
  @Order(2)
  void aMoveThatWasOnlyPreparedIsUndone() throws Exception {
    dieMoving("newer", () -> Files.exists(home().resolve("images/output")));
    takeBack();
    assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("was undone"));
    assertRunsIn("older");
  }

  @Test
  @Order(3)
  void aContainerThatStandsGoesOnWhereItWas() throws Exception {
    beforeRestore("newer", "sleep 1; exit 1");
    dieMoving("newer", () -> Files.exists(home().resolve("images/pages")));
    // It stands as long as there is no daemon.
    Workshop.pause(Duration.ofSeconds(1));
    takeBack();
    assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("was undone"));
    beforeRestore("newer", "");
    assertRunsIn("older");
  }

  @Test
  @Order(4)
  void aContainerThatWasNotToldToRunGoesOnWhereItWas() throws Exception {
    aroundGate("newer", "touch /containers/c1/marker; sleep 2", ":");
    dieMoving("newer", () -> Files.exists(home().resolve("marker")));
    takeBack();
    assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("was undone"));
    aroundGate("newer", "", "");
    Files.delete(home().resolve("marker"));
    assertRunsIn("older");
  }

  @Test
  @Order(5)
  void aContainerThatWasToldToRunGoesOnThereWithoutADaemon() throws Exception {
    aroundGate("newer", ":", "touch /containers/c1/marker; sleep 2");
    dieMoving("newer", () -> Files.exists(home().resolve("marker")));
    takeBack();
    assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("was finished"));
    aroundGate("newer", "", "");
    Files.delete(home().resolve("marker"));
    assertRunsIn("newer");
  }

  @Test
  @Order(6)
  void memoryThatHasNotComeYetFollows() throws Exception {
    dieMoving("older", () -> said("Committed"));
    takeBack();
    assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("was finished"));
    assertRunsIn("older");
    assertMoves("newer");
  }

  /// Real daemons: one is followed by a newer one, which is told to end.
  @Test
  @Order(7)
  void neitherAnUpgradeNorTheEndOfADaemonEndsThem() throws Exception {
    Files.createSymbolicLink(state().resolve("releases"), Workshop.CACHE.resolve("releases"));
    letGo();
    String[] command = {"daemon", "--state", state().toString()};
    Process first = launch("dev.hyperfresh.cli.Main", command);
    Process second = first;
    try {
      awaitIn(first, LIMIT, () -> said("serving on"));
      assertThat(list()).contains("\"c1\"", "\"newer\"");
      second =
          launch("dev.hyperfresh.cli.Main", "daemon", "--upgrade", "--state", state().toString());
      awaitIn(second, LIMIT, () -> said("serving on"));
      assertThat(first.waitFor(20, TimeUnit.SECONDS)).isTrue();
      assertThat(first.exitValue()).isZero();
      Workshop.await("c1", LIMIT, () -> list().contains("\"c1\""));
      assertThat(
              CommandRun.here("container", "exec", "--state", state().toString(), "c1", "/bin/app")
                  .out())
          .contains("usage");
      end(second);
    } finally {
      first.destroyForcibly().waitFor();
      second.destroyForcibly().waitFor();
    }
    assertThat(processes()).hasSize(3);
    takeBack();
    assertRunsIn("newer");
  }

  /// Real daemons again: one is told to end, and one is followed by a newer one, while a container
  /// is put together in the other OS.
  @Test
  @Order(8)
  void theEndOfADaemonBreaksNoMoveAndNobodyElseNotices() throws Exception {
    OsDaemon now = daemon.orElseThrow();
    Path bundle = state().resolve("bundle");
    List<Container> others =
        List.of(
            now.systems.run(new ContainerSpec("by1", bundle, Optional.empty()), "older", NOBODY),
            now.systems.run(new ContainerSpec("by2", bundle, Optional.empty()), "newer", NOBODY));
    List<Integer> pids = others.stream().map(Container::pid).toList();
    for (boolean upgrade : new boolean[] {false, true}) {
      String to =
          daemon.orElseThrow().systems.container("c1").os().name().equals("older")
              ? "newer"
              : "older";
      aroundGate(to, "touch /containers/c1/marker; sleep 3", ":");
      letGo();
      endWhileMoving(to, upgrade);
      takeBack();
      aroundGate(to, "", "");
      Files.delete(home().resolve("marker"));
      assertRunsIn(daemon.orElseThrow().systems.container("c1").os().name());
      assertThat(Stream.of("by1", "by2").map(daemon.orElseThrow().systems::container).toList())
          .allMatch(other -> other.state() instanceof ContainerState.Running)
          .extracting(Container::pid)
          .isEqualTo(pids);
    }
    List.of("by1", "by2").forEach(name -> daemon.orElseThrow().systems.stop(name, Duration.ZERO));
  }

  private static void endWhileMoving(String to, boolean upgrade) throws Exception {
    String[] command = {"daemon", "--state", state().toString()};
    Process first = launch("dev.hyperfresh.cli.Main", command);
    List<Process> all = new ArrayList<>(List.of(first));
    try {
      awaitIn(first, LIMIT, () -> said("serving on"));
      // A daemon serves before everything has been taken back.
      Workshop.await("c1", LIMIT, RelocationRecoveryTest::runs);
      Process move =
          launch(
              "dev.hyperfresh.cli.Main",
              "container",
              "relocate",
              "c1",
              "--to",
              to,
              "--state",
              state().toString());
      all.add(move);
      awaitIn(move, LIMIT, () -> Files.exists(home().resolve("marker")));
      if (upgrade) {
        Process second =
            launch("dev.hyperfresh.cli.Main", "daemon", "--upgrade", "--state", state().toString());
        all.add(second);
        awaitIn(second, LIMIT, () -> said("serving on"));
        end(second);
      } else {
        end(first);
      }
      assertThat(first.waitFor(40, TimeUnit.SECONDS)).isTrue();
      assertThat(move.waitFor(40, TimeUnit.SECONDS)).isTrue();
    } finally {
      for (Process process : all) {
        process.destroyForcibly().waitFor();
      }
    }
  }

  private static void end(Process daemon) throws InterruptedException {
    try (PidFd process = PidFd.open((int) daemon.pid())) {
      process.signal(Signals.TERM);
    }
    assertThat(daemon.waitFor(40, TimeUnit.SECONDS)).isTrue();
  }

  private static boolean runs() {
    CommandRun show =
        CommandRun.here("container", "show", "c1", "--json", "--state", state().toString());
    return show.code() == 0 && show.json().path("state").asString().equals("running");
  }

  private static String list() {
    return CommandRun.here("container", "list", "--json", "--state", state().toString()).out();
  }

  /// Only somebody who takes it on himself has it go on: it may have run in an OS that is gone.
  @Test
  @Order(9)
  void aContainerInDoubtStandsUnderEveryDaemonUntilItIsResumed() throws Exception {
    aroundGate("older", ":", "touch /containers/c1/marker; sleep 20");
    int pid = os("older").pid();
    dieMoving("older", () -> Files.exists(home().resolve("marker")));
    ProcessHandle hardware = ProcessHandle.of(pid).orElseThrow();
    hardware.destroyForcibly();
    Workshop.await("the end of older", LIMIT, () -> !hardware.isAlive());
    for (int life = 0; life < 2; life++) {
      takeBack();
      assertThat(daemon.orElseThrow().told).anyMatch(line -> line.contains("container resume c1"));
      assertThatThrownBy(() -> daemon.orElseThrow().systems.container("c1"))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_DOUBT));
      assertThat(os("newer").run(List.of("cat", "/sys/fs/cgroup/c1/cgroup.freeze"), LIMIT))
          .isEqualTo("1");
      if (life == 0) {
        letGo();
      }
    }
    daemon.orElseThrow().systems.resume("c1");
    Workshop.await(
        "c1 in newer",
        LIMIT,
        () -> daemon.orElseThrow().told.stream().anyMatch(l -> l.contains("c1 was taken back")));
    assertThat(client().isMemoryGood()).as(client().fault()).isTrue();
    assertThat(client().kernel()).isEqualTo(os("newer").settings().release().kernelRelease());
  }
}
