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
import dev.hyperfresh.relocation.Systems;
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
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
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
  private static final Duration LIMIT = Duration.ofMinutes(3);
  private static final Progress NOBODY = Progress.NONE;
  private static final Duration BOOT = Duration.ofMinutes(5);

  @RegisterExtension static final Workspace WORKSPACE = Workspace.ofClass();

  private static Optional<OsStage> opened = Optional.empty();
  private static Optional<OutageClient> client = Optional.empty();

  @BeforeAll
  static void make() throws Exception {
    OsStage made = new OsStage(state(), "10.79.0.1/24");
    opened = Optional.of(made);
    Path bundle = ContainerBundle.build(state().resolve("bundle"), MEBIBYTES, 1);
    Process first =
        made.launch(
            OsDaemon.class.getName(), state().toString(), ADDRESS + "/24", bundle.toString());
    try {
      made.awaitIn(first, BOOT, () -> made.said(OsDaemon.DONE));
      client =
          Optional.of(
              made.network()
                  .within(() -> {
                    try {
                      return OutageClient.open(
                          new InetSocketAddress(ADDRESS, ContainerBundle.PORT),
                          Duration.ofMinutes(1));
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
    opened.ifPresent(OsStage::close);
  }

  private static OsStage stage() {
    return opened.orElseThrow();
  }

  private static Path state() {
    return WORKSPACE.state();
  }

  private static Path home() {
    return stage().home("c1");
  }

  /// Has another daemon move the container, and kills it when `moment` has come.
  private static void dieMoving(String to, BooleanSupplier moment) throws Exception {
    stage().letGo();
    client().takeLongestMs();
    Process moving = stage().launch(OsDaemon.class.getName(), state().toString(), to);
    try {
      stage().awaitIn(moving, LIMIT, moment);
    } finally {
      moving.destroyForcibly().waitFor();
    }
    assertThat(stage().said(OsDaemon.DONE)).isFalse();
  }

  private static OutageClient client() {
    return client.orElseThrow();
  }

  private static OsVm os(String name) {
    return stage().os(name);
  }

  private static void assertRunsIn(String os) {
    OsDaemon now = stage().daemon();
    Container container = now.systems.container("c1");
    assertThat(container.os().name()).as(String.join(" / ", now.told)).isEqualTo(os);
    assertThat(container.state()).isInstanceOf(ContainerState.Running.class);
    assertThat(client().isMemoryGood()).as(client().fault()).isTrue();
    assertThat(client().fault()).isEmpty();
    System.out.printf(Locale.ROOT, "  client waited %.0f ms%n", client().takeLongestMs());
    awaitAnswerFrom(os);
    assertThat(now.systems.execute("c1", List.of("/bin/app")).output()).contains("usage");
    assertThat(Files.exists(home().resolve("images"))).isFalse();
    assertThat(OsStage.read(state().resolve("placements/c1.json"))).contains("\"move\":null");
    // The hardware unmaps what was taken out a moment later.
    Workshop.await(
        "neither to see the other's memory",
        LIMIT,
        () -> !stage().maps("older", "newer") && !stage().maps("newer", "older"));
    String other = os.equals("older") ? "newer" : "older";
    assertThat(os(other).run(List.of("ls", "/sys/fs/cgroup"), LIMIT)).doesNotContain("c1");
    assertThat(os(other).run(List.of("cat", "/proc/mounts"), LIMIT))
        .doesNotContain("/containers/c1 ");
    assertThat(Files.exists(state().resolve("os").resolve(other).resolve("files/c1.json")))
        .isFalse();
    awaitProcesses(now.systems.containers().size());
  }

  /// The client's last answer may be one that was on its way before.
  private static void awaitAnswerFrom(String os) {
    String kernel = os(os).settings().release().kernelRelease();
    Workshop.await("an answer from " + os, LIMIT, () -> client().kernel().equals(kernel));
  }

  /// Each OS has hardware, each container a file server; one that was told to end is there for a
  /// moment.
  private static void awaitProcesses(int containers) {
    Await.holdsWithin(LIMIT, () -> stage().processes().size() == 2 + containers);
    assertThat(stage().processes()).hasSize(2 + containers);
  }

  private static void assertMoves(String to) {
    RelocationRecord move =
        stage()
            .network()
            .within(
                () -> stage().daemon().systems.relocate("c1", to, Transport.MAPPED, Progress.NONE));
    assertThat(move.outcome()).as(move.detail()).isEqualTo("committed");
    assertRunsIn(to);
  }

  @Test
  @Order(1)
  void theNextDaemonTakesOsAndContainerBackAndMovesIt() throws IOException {
    awaitProcesses(1);
    stage().takeBack();
    assertRunsIn("older");
    assertThat(Files.getPosixFilePermissions(state().resolve("os/older/vm.json")))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    assertThat(stage().daemon().systems.log("c1")).contains("on " + client().kernel());
    assertMoves("newer");
    assertMoves("older");
  }

  @Test
  @Order(2)
  void aMoveThatWasOnlyPreparedIsUndone() throws Exception {
    dieMoving("newer", () -> Files.exists(home().resolve("images/output")));
    stage().takeBack();
    assertThat(stage().daemon().told).anyMatch(line -> line.contains("was undone"));
    assertRunsIn("older");
  }

  @Test
  @Order(3)
  void aContainerThatStandsGoesOnWhereItWas() throws Exception {
    stage().beforeRestore("newer", "c1", "sleep 1; exit 1");
    dieMoving("newer", () -> Files.exists(home().resolve("images/pages")));
    // It stands as long as there is no daemon.
    Workshop.pause(Duration.ofSeconds(1));
    stage().takeBack();
    assertThat(stage().daemon().told).anyMatch(line -> line.contains("was undone"));
    stage().beforeRestore("newer", "c1", "");
    assertRunsIn("older");
  }

  @Test
  @Order(4)
  void aContainerThatWasNotToldToRunGoesOnWhereItWas() throws Exception {
    stage().aroundGate("newer", "touch /containers/c1/marker; sleep 2", ":");
    dieMoving("newer", () -> Files.exists(home().resolve("marker")));
    stage().takeBack();
    assertThat(stage().daemon().told).anyMatch(line -> line.contains("was undone"));
    stage().aroundGate("newer", "", "");
    Files.delete(home().resolve("marker"));
    assertRunsIn("older");
  }

  @Test
  @Order(5)
  void aContainerThatWasToldToRunGoesOnThereWithoutADaemon() throws Exception {
    stage().aroundGate("newer", ":", "touch /containers/c1/marker; sleep 2");
    dieMoving("newer", () -> Files.exists(home().resolve("marker")));
    stage().takeBack();
    assertThat(stage().daemon().told).anyMatch(line -> line.contains("was finished"));
    stage().aroundGate("newer", "", "");
    Files.delete(home().resolve("marker"));
    assertRunsIn("newer");
  }

  @Test
  @Order(6)
  void memoryThatHasNotComeYetFollows() throws Exception {
    stage().letGo();
    client().takeLongestMs();
    Process moving =
        stage().launch(OsDaemon.class.getName(), state().toString(), "older", "until", "Draining");
    try {
      assertThat(moving.waitFor(BOOT.toSeconds(), TimeUnit.SECONDS)).isTrue();
    } finally {
      moving.destroyForcibly().waitFor();
    }
    assertThat(stage().said("Draining")).as(() -> OsStage.read(stage().log())).isTrue();
    assertThat(stage().said(OsDaemon.DONE)).isFalse();
    stage().takeBack();
    assertThat(stage().daemon().told).anyMatch(line -> line.contains("was finished"));
    assertRunsIn("older");
    assertMoves("newer");
  }

  /// Real daemons: one is followed by a newer one, which is told to end.
  @Test
  @Order(7)
  void neitherAnUpgradeNorTheEndOfADaemonEndsThem() throws Exception {
    stage().letGo();
    Process first = stage().launchDaemon();
    Process second = first;
    try {
      // A daemon serves before everything has been taken back.
      Workshop.await(
          "c1 in newer", LIMIT, () -> list().contains("\"c1\"") && list().contains("\"newer\""));
      second = stage().launchDaemon("--upgrade");
      assertThat(first.waitFor(180, TimeUnit.SECONDS)).isTrue();
      assertThat(first.exitValue()).isZero();
      Workshop.await("c1", LIMIT, () -> list().contains("\"c1\""));
      assertThat(
              CommandRun.here("container", "exec", "--state", state().toString(), "c1", "/bin/app")
                  .out())
          .contains("usage");
      OsStage.end(second);
    } finally {
      first.destroyForcibly().waitFor();
      second.destroyForcibly().waitFor();
    }
    awaitProcesses(1);
    stage().takeBack();
    assertRunsIn("newer");
  }

  /// Real daemons again: one is told to end, and one is followed by a newer one, while a container
  /// is put together in the other OS.
  @Test
  @Order(8)
  void theEndOfADaemonBreaksNoMoveAndNobodyElseNotices() throws Exception {
    OsDaemon now = stage().daemon();
    Path bundle = state().resolve("bundle");
    List<Container> others =
        List.of(
            now.systems.run(new ContainerSpec("by1", bundle, Optional.empty()), "older", NOBODY),
            now.systems.run(new ContainerSpec("by2", bundle, Optional.empty()), "newer", NOBODY));
    List<Integer> pids = others.stream().map(Container::pid).toList();
    for (boolean upgrade : new boolean[] {false, true}) {
      String to =
          stage().daemon().systems.container("c1").os().name().equals("older") ? "newer" : "older";
      stage().aroundGate(to, "touch /containers/c1/marker; sleep 3", ":");
      stage().letGo();
      endWhileMoving(to, upgrade);
      stage().takeBack();
      stage().aroundGate(to, "", "");
      Files.delete(home().resolve("marker"));
      assertRunsIn(stage().daemon().systems.container("c1").os().name());
      assertThat(Stream.of("by1", "by2").map(stage().daemon().systems::container).toList())
          .allMatch(other -> other.state() instanceof ContainerState.Running)
          .extracting(Container::pid)
          .isEqualTo(pids);
    }
    List.of("by1", "by2").forEach(name -> stage().daemon().systems.stop(name, Duration.ZERO));
  }

  /// Where a move is held until the daemon that makes it is told to end.
  private record Moment(String os, String what) {
    void hold(boolean held) {
      String step = "touch /containers/c1/marker; sleep 3";
      if (what.startsWith("gate")) {
        boolean before = what.equals("gate before");
        stage().aroundGate(os, held && before ? step : ":", held && !before ? step : ":");
      } else {
        stage().before(os, what, held ? step : "");
      }
    }
  }

  /// As above, at every step of a move.
  @Test
  @Order(8)
  @Tag("measure")
  void theEndOfADaemonBreaksAMoveAtNoStep() throws Exception {
    OsDaemon now = stage().own();
    Path bundle = state().resolve("bundle");
    Map<String, Integer> others = new TreeMap<>();
    for (String os : List.of("older", "newer")) {
      String name = "beside-" + os;
      ContainerSpec spec = new ContainerSpec(name, bundle, Optional.empty());
      others.put(name, now.systems.run(spec, os, NOBODY).pid());
    }
    Map<String, Integer> arrived = new TreeMap<>();
    for (String what :
        List.of(
            "check",
            "drain",
            "pre-dump",
            "network-lock",
            "post-dump",
            "unpack",
            "gate before",
            "gate after",
            "compare")) {
      for (boolean upgrade : new boolean[] {false, true}) {
        String from = stage().daemon().systems.container("c1").os().name();
        String to = from.equals("older") ? "newer" : "older";
        boolean inNew = List.of("drain", "unpack").contains(what) || what.startsWith("gate");
        Moment moment = new Moment(inNew ? to : from, what);
        moment.hold(true);
        stage().letGo();
        endWhileMoving(to, upgrade);
        stage().takeBack();
        moment.hold(false);
        String runs = stage().daemon().systems.container("c1").os().name();
        Files.deleteIfExists(state().resolve("containers/c1/share/marker"));
        System.out.printf("  %s at %s: in %s%n", upgrade ? "upgrade" : "end", what, runs);
        assertRunsIn(runs);
        arrived.merge(what, runs.equals(to) ? 1 : 0, Integer::sum);
        others.forEach((name, pid) ->
            assertThat(stage().daemon().systems.container(name).pid()).as(name).isEqualTo(pid));
      }
    }
    System.out.println("  arrived, of two each: " + arrived);
    others.keySet().forEach(name -> stage().daemon().systems.stop(name, Duration.ZERO));
  }

  private static void endWhileMoving(String to, boolean upgrade) throws Exception {
    Process first = stage().launchDaemon();
    List<Process> all = new ArrayList<>(List.of(first));
    try {
      // A daemon serves before everything has been taken back.
      Workshop.await("c1", LIMIT, () -> stage().runs("c1"));
      Process move = stage().launchMove("c1", to);
      all.add(move);
      stage().awaitIn(move, LIMIT, () -> Files.exists(home().resolve("marker")));
      if (upgrade) {
        Process second = stage().launchDaemon("--upgrade");
        all.add(second);
        OsStage.end(second);
      } else {
        OsStage.end(first);
      }
      assertThat(first.waitFor(180, TimeUnit.SECONDS)).isTrue();
      assertThat(move.waitFor(180, TimeUnit.SECONDS)).isTrue();
    } finally {
      for (Process process : all) {
        process.destroyForcibly().waitFor();
      }
    }
  }

  private static String list() {
    return CommandRun.here("container", "list", "--json", "--state", state().toString()).out();
  }

  /// Only somebody who takes it on himself has it go on: it may have run in an OS that is gone.
  @Test
  @Order(9)
  void aContainerInDoubtStandsUnderEveryDaemonUntilItIsResumed() throws Exception {
    stage().aroundGate("older", ":", "touch /containers/c1/marker; sleep 20");
    int pid = os("older").pid();
    dieMoving("older", () -> Files.exists(home().resolve("marker")));
    ProcessHandle hardware = ProcessHandle.of(pid).orElseThrow();
    hardware.destroyForcibly();
    Workshop.await("the end of older", LIMIT, () -> !hardware.isAlive());
    for (int life = 0; life < 2; life++) {
      stage().takeBack();
      assertThat(stage().daemon().told).anyMatch(line -> line.contains("container resume c1"));
      assertThatThrownBy(() -> stage().daemon().systems.container("c1"))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.RELOCATE_DOUBT));
      assertThat(os("newer").run(List.of("cat", "/sys/fs/cgroup/c1/cgroup.freeze"), LIMIT))
          .isEqualTo("1");
      if (life == 0) {
        stage().letGo();
      }
    }
    stage().daemon().systems.resume("c1");
    Workshop.await(
        "c1 in newer",
        LIMIT,
        () -> stage().daemon().told.stream().anyMatch(l -> l.contains("c1 was reattached")));
    assertThat(client().isMemoryGood()).as(client().fault()).isTrue();
    awaitAnswerFrom("newer");
  }

  /// The last resort: it is told what it costs.
  @Test
  @Order(10)
  void anOsThatHangsIsEndedByForce() {
    Systems systems = stage().daemon().systems;
    ProcessHandle hardware = ProcessHandle.of(os("newer").pid()).orElseThrow();
    try (PidFd process = PidFd.open((int) hardware.pid())) {
      process.signal(Signals.STOP);
    }
    assertThatThrownBy(() -> systems.delete("newer"))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.OS_IN_USE));
    systems.kill("newer");
    // Whoever is its parent now has to reap it.
    Workshop.await("the end of newer", LIMIT, () -> !hardware.isAlive());
    assertThat(systems.find("newer")).isEmpty();
    Workshop.await("the loss of c1", LIMIT, () -> systems.view("c1").state().hasEnded());
    assertThat(systems.view("c1").state()).isInstanceOf(ContainerState.Lost.class);
    assertThat(state().resolve("os/newer/console.log")).exists();
    assertThatThrownBy(() -> systems.kill("newer"))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.OS_UNKNOWN));
  }
}
