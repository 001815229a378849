package dev.hyperfresh.vm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.vm.Agent.Exited;
import dev.hyperfresh.vm.Agent.Mode;
import dev.hyperfresh.vm.Agent.Opening;
import dev.hyperfresh.vm.Agent.Program;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Each request of the protocol that does not need a machine around it, to the real agent.
@Timeout(60)
class AgentTest {
  private static final Duration LIMIT = Duration.ofSeconds(10);

  @TempDir Path folder;
  private Path sys;
  private AgentProcess process;
  private Agent agent;
  private final BlockingQueue<Exited> ends = new LinkedBlockingQueue<>();

  @BeforeEach
  void start() throws IOException {
    sys = Files.createDirectory(folder.resolve("sys"));
    process = AgentProcess.start(folder, sys);
    agent = Agent.over(process.socket(), ends::add);
  }

  @AfterEach
  void stop() {
    agent.close();
    process.close();
  }

  @Test
  void saysWhatItRunsOn() throws Exception {
    Agent.Hello hello = agent.awaitHello(LIMIT);

    assertThat(hello.version()).isEqualTo(Agent.PROTOCOL);
    assertThat(hello.kernelRelease())
        .isEqualTo(Files.readString(Path.of("/proc/sys/kernel/osrelease")).strip());
    assertThat(hello.uptime()).isPositive();
    assertThat(hello.memoryFreeKib()).isPositive().isLessThan(hello.memoryTotalKib());
  }

  @Test
  void aRequestThatIsInterruptedEndsAndKeepsTheInterrupt() {
    Thread.currentThread().interrupt();

    assertThatThrownBy(() -> agent.port("nowhere", LIMIT))
        .isInstanceOf(AgentException.class)
        .hasMessage("port: interrupted");

    assertThat(Thread.interrupted()).isTrue();
  }

  @Test
  void aRequestAfterTheEndOfTheConnectionFails() {
    agent.close();

    assertThatThrownBy(agent::clock)
        .isInstanceOf(AgentException.class)
        .hasMessageStartingWith("clock: the agent's connection");
  }

  @Test
  void tellsTheTime() {
    long before = System.currentTimeMillis();

    assertThat(agent.clock() / 1_000_000).isBetween(before - 1, before + 10_000);
  }

  @Test
  void aProgramIsStartedAndItsEndReported() throws Exception {
    int pid =
        agent.start(
            program("/bin/sh", "-c", "echo \"$GREETING\" 100%; echo out >&2; exit 7")
                .apply(Map.of("GREETING", "good  day\n"), List.of()));

    Exited end = ends.poll(10, TimeUnit.SECONDS);

    assertThat(end).isEqualTo(new Exited(pid, 7 << 8, "good  day\n 100%\nout\n"));
    assertThat(end.code()).contains(7);
    assertThat(end.signal()).isEmpty();
    assertThat(process.runFolder().resolve(pid + ".log")).doesNotExist();
  }

  @Test
  void onlyTheLastOfALongOutputIsTold() throws Exception {
    int pid = agent.start(simple("sh", "-c", "seq 1 200000; printf the-end"));

    Exited end = ends.poll(20, TimeUnit.SECONDS);

    assertThat(end.pid()).isEqualTo(pid);
    assertThat(end.tail()).hasSize(2048).endsWith("200000\nthe-end");
  }

  @Test
  void descriptorsAreOpenedWhereTheyWereAskedFor() throws Exception {
    Path in = Files.writeString(folder.resolve("in put"), "from a file");
    Path out = Files.createFile(folder.resolve("out"));
    List<Opening> openings =
        List.of(
            new Opening(9, Mode.R, in.toString()),
            new Opening(3, Mode.W, out.toString()),
            new Opening(100, Mode.RW, "/dev/null"));

    agent.start(
        new Program(
            List.of("bash", "-c", "cat <&9 >&3; cd /proc/self/fd; echo *; readlink 0 100"),
            Map.of("PATH", "/usr/bin:/bin"),
            openings));

    Exited end = ends.poll(10, TimeUnit.SECONDS);
    // 4 is the folder that is being listed.
    assertThat(end.tail()).isEqualTo("0 1 100 2 3 4 9\n/dev/null\n/dev/null\n");
    assertThat(out).hasContent("from a file");
  }

  @Test
  void whatCannotBeStartedIsRefused() {
    assertRefused(() -> agent.start(simple("/no/such program")), "No such file");
    assertRefused(() -> agent.start(simple("/dev/null")), "Permission denied");
    assertRefused(
        () ->
            agent.start(
                program("true").apply(Map.of(), List.of(new Opening(5, Mode.R, "/no/file")))),
        "/no/file: No such file");
    for (int number : new int[] {-1, 0, 2, 1024}) {
      assertRefused(
          () ->
              agent.start(
                  program("true")
                      .apply(Map.of(), List.of(new Opening(number, Mode.R, "/dev/null")))),
          "FD:MODE:PATH");
    }
    Opening twice = new Opening(4, Mode.R, "/dev/null");
    assertRefused(
        () -> agent.start(program("true").apply(Map.of(), List.of(twice, twice))), "twice");
    assertRefused(
        () ->
            agent.start(
                program("true")
                    .apply(Map.of(), List.of(new Opening(4, Mode.TAP, "hf-none-at-all")))),
        "No such device");
    assertThat(ends).isEmpty();
  }

  @Test
  void aProgramCanBeStoppedWatchedAndKilled() throws Exception {
    int pid = agent.start(simple("sleep", "600"));
    await(() -> agent.state(pid).equals("S"));

    agent.signal(pid, 19);
    await(() -> agent.state(pid).equals("T"));
    agent.signal(pid, 18);
    agent.signal(pid, 15);

    Exited end = ends.poll(10, TimeUnit.SECONDS);
    assertThat(end).isEqualTo(new Exited(pid, 15, ""));
    assertThat(end.signal()).contains(15);
    assertRefused(() -> agent.signal(pid, 0), "no program");
    assertRefused(() -> agent.state(pid), "no program");
  }

  @Test
  void onlyItsOwnProgramsAreInReach() {
    int other = (int) ProcessHandle.current().pid();

    assertRefused(() -> agent.signal(other, 0), "no program");
    assertRefused(() -> agent.signal(1, 0), "no program");
    assertRefused(() -> agent.signal(0, 0), "no program");
    assertRefused(() -> agent.signal(-1, 9), "no program");
    assertRefused(() -> agent.io(other), "no program");
    assertRefused(() -> agent.faults(other), "no program");
  }

  @Test
  void readsWritesAndFaultsAreCounted() throws Exception {
    int pid =
        agent.start(simple("sh", "-c", "head -c 300000 /dev/zero | cat >/dev/null; sleep 600"));

    // The shell gets what its children read when it has waited for them.
    await(() -> agent.io(pid).read() >= 600_000 && agent.io(pid).written() >= 600_000);
    assertThat(agent.faults(pid).minor()).isPositive();
    agent.signal(pid, 9);
    assertThat(ends.poll(10, TimeUnit.SECONDS)).isNotNull();
  }

  @Test
  void aPortIsFoundByItsName() throws Exception {
    port("vport3p1", "another");
    port("vport3p2", "hf.migration");

    assertThat(agent.port("hf.migration", LIMIT)).isEqualTo("/dev/vport3p2");
    assertRefused(() -> agent.port("hf.migra", Duration.ZERO), "did not appear");
  }

  @Test
  void aDiskIsFoundByItsSerialNumber() throws Exception {
    Path disk = Files.createDirectories(sys.resolve("block/vdc"));
    Files.createDirectories(sys.resolve("block/loop0"));
    Files.writeString(disk.resolve("serial"), "web1-0");

    assertThat(agent.disk("web1-0", LIMIT)).isEqualTo("/dev/vdc");
    assertRefused(() -> agent.disk("", Duration.ZERO), "malformed");
  }

  @Test
  void waitingHoldsNobodyUp() throws Exception {
    CompletableFuture<String> late = CompletableFuture.supplyAsync(() -> agent.port("late", LIMIT));
    CompletableFuture<String> never =
        CompletableFuture.supplyAsync(() -> agent.port("never", Duration.ofMillis(300)));
    for (int i = 0; i < 100; i++) {
      assertThat(agent.clock()).isPositive();
    }
    assertThat(late).isNotDone();
    port("vport0p7", "late");

    assertThat(late.get(5, TimeUnit.SECONDS)).isEqualTo("/dev/vport0p7");
    assertThat(never)
        .failsWithin(LIMIT)
        .withThrowableThat()
        .withMessageContaining("did not appear");
  }

  @Test
  void anOutletCarriesEachConnectionsBytes() throws Exception {
    Path device = Files.createFile(folder.resolve("device"));
    Path path = process.runFolder().resolve("outlet");
    agent.outlet(device.toString(), path.toString());

    for (String text : List.of("first", "2")) {
      try (UnixSocket socket = UnixSocket.connect(path)) {
        socket.send(text.getBytes(StandardCharsets.UTF_8));
        socket.shutdownOutput();
        // The end of the connection is the outlet's, so all has been written.
        assertThat(socket.receive(new byte[1], new ArrayList<>())).isEqualTo(-1);
      }
      assertThat(Files.readString(device)).startsWith(text);
    }
    assertRefused(() -> agent.outlet("/dev/null", path.toString()), "in use");
    agent.outletClose(path.toString());
    assertThat(path).doesNotExist();
    assertRefused(() -> agent.outletClose(path.toString()), "no outlet");
  }

  @Test
  void anOutletIsQuick() throws Exception {
    Path path = process.runFolder().resolve("outlet");
    agent.outlet("/dev/null", path.toString());
    byte[] chunk = new byte[1 << 20];

    long start = System.nanoTime();
    try (UnixSocket socket = UnixSocket.connect(path)) {
      for (int i = 0; i < 256; i++) {
        socket.send(chunk);
      }
      socket.shutdownOutput();
      assertThat(socket.receive(new byte[1], new ArrayList<>())).isEqualTo(-1);
    }
    long millis = (System.nanoTime() - start) / 1_000_000;

    System.out.println("  an outlet took 256 MiB in " + millis + " ms");
    assertThat(millis).isLessThan(10_000);
  }

  @Test
  void outletsStayInTheirFolder() {
    for (String path :
        List.of("/tmp/x", "", process.runFolder() + "/../x", process.runFolder() + "/")) {
      assertRefused(() -> agent.outlet("/dev/null", path), "not below");
    }
    assertRefused(
        () -> agent.outlet("/dev/null", process.runFolder() + "/" + "x".repeat(200)), "not below");
  }

  @Test
  void kvmIsReadAndSet() throws Exception {
    Path statistics = Files.createDirectories(sys.resolve("kernel/debug/kvm"));
    Files.writeString(statistics.resolve("exits"), "12345\n");
    Files.writeString(statistics.resolve("halt_poll_hist"), "1 2 3\n");
    Files.createDirectory(statistics.resolve("999-11"));
    Path parameters = Files.createDirectories(sys.resolve("module/kvm/parameters"));
    Files.writeString(parameters.resolve("halt_poll_ns"), "200000\n");
    Path amd = Files.createDirectories(sys.resolve("module/kvm_amd/parameters"));
    Files.writeString(amd.resolve("nested"), "1\n");

    assertThat(agent.kvm()).isEqualTo(Map.of("exits", 12345L));
    assertThat(agent.parameters()).isEqualTo(Map.of("halt_poll_ns", "200000", "nested", "1"));
    agent.haltPoll(0);
    assertThat(parameters.resolve("halt_poll_ns")).content().startsWith("0");
    assertRefused(() -> agent.haltPoll(-1), "no number");
  }

  @Test
  void withoutKvmThatIsSaid() {
    assertRefused(agent::kvm, "no statistics");
    assertRefused(agent::parameters, "not loaded");
    assertRefused(() -> agent.haltPoll(1), "No such file");
    assertRefused(() -> agent.eject(0), "not in a machine");
    assertRefused(() -> agent.eject(256), "no slot");
  }

  @Test
  void aLinkIsABridgeOfAnInterfaceAndATap() throws Exception {
    try (AgentProcess alone = AgentProcess.startAlone(Files.createDirectory(folder.resolve("a")));
        Agent inside = Agent.over(alone.socket(), ends::add)) {
      String mac = "02:00:00:00:12:3F";
      CompletableFuture<Void> link =
          CompletableFuture.runAsync(() -> inside.link(mac, "web1-n0", LIMIT));
      run(inside, "ip link add out0 address 02:00:00:00:12:3f type veth peer name far0");
      link.get(10, TimeUnit.SECONDS);

      assertThat(run(inside, "ip -d link show b-web1-n0"))
          .contains("UP", "stp_state 0", "forward_delay 0", "mcast_snooping 0");
      assertThat(run(inside, "ip -o link show master b-web1-n0")).contains("out0", "web1-n0");
      assertThat(run(inside, "ip -d link show web1-n0"))
          .contains("persist on", "vnet_hdr on", "learning off");
      assertRefused(() -> inside.link(mac, "other", LIMIT), "in a bridge already");
      assertRefused(() -> inside.link(mac, "a/b", LIMIT), "no tap's name");
      assertRefused(() -> inside.link(mac, "fourteen-chars", LIMIT), "no tap's name");
      assertRefused(() -> inside.link("02:00:00:00:00:99", "x", Duration.ZERO), "did not appear");

      // Nothing that the bridge or its ports would have to say has been said.
      run(inside, "ip link set far0 up; sleep 2");
      assertThat(run(inside, "cat /sys/class/net/far0/statistics/rx_packets").strip())
          .as("packets that came out of the link")
          .isEqualTo("0");

      inside.start(
          new Program(
              List.of("sh", "-c", "readlink /proc/self/fd/5"),
              Map.of("PATH", "/usr/bin:/bin"),
              List.of(new Opening(5, Mode.TAP, "web1-n0"))));
      assertThat(ends.poll(10, TimeUnit.SECONDS).tail()).isEqualTo("/dev/net/tun\n");

      inside.unlink("web1-n0");
      assertThat(run(inside, "ip -o link")).contains("out0").doesNotContain("web1-n0");
      assertRefused(() -> inside.unlink("web1-n0"), "no link");
      assertRefused(() -> inside.unlink("lo"), "no link");
    }
  }

  @Test
  void whatIsUnknownIsRefusedAndNothingElseHappens() throws Exception {
    agent.awaitHello(LIMIT);
    agent.close();
    await(() -> !agent.isOpen());

    assertThatThrownBy(agent::clock)
        .isInstanceOfSatisfying(
            AgentException.class,
            e -> {
              assertThat(e.refused()).isFalse();
              assertThat(e.verb()).isEqualTo("clock");
            });
    assertThat(process.exit(LIMIT).orElseThrow().code()).hasValue(0);
  }

  @Test
  void poweroffEndsIt() {
    agent.poweroff();

    assertThat(process.exit(LIMIT).orElseThrow().code()).hasValue(0);
  }

  private String run(Agent inside, String script) throws InterruptedException {
    inside.start(
        new Program(
            List.of("sh", "-c", script),
            Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            List.of()));
    Exited end = ends.poll(10, TimeUnit.SECONDS);
    assertThat(end.status()).as(end.tail()).isZero();
    return end.tail();
  }

  private void port(String device, String name) throws IOException {
    Path port = Files.createDirectories(sys.resolve("class/virtio-ports").resolve(device));
    Files.writeString(port.resolve("name"), name + "\n");
  }

  private interface Prepared {
    Program apply(Map<String, String> environment, List<Opening> openings);
  }

  private static Prepared program(String... command) {
    return (environment, openings) -> new Program(List.of(command), environment, openings);
  }

  private static Program simple(String... command) {
    return new Program(List.of(command), Map.of("PATH", "/usr/bin:/bin"), List.of());
  }

  private static void assertRefused(Runnable request, String text) {
    assertThatThrownBy(request::run)
        .isInstanceOfSatisfying(
            AgentException.class, e -> assertThat(e.refused()).as(e.getMessage()).isTrue())
        .hasMessageContaining(text);
  }

  private static void await(java.util.function.BooleanSupplier condition) {
    long deadline = System.nanoTime() + LIMIT.toNanos();
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime()).isLessThan(deadline);
      Thread.onSpinWait();
    }
  }
}
