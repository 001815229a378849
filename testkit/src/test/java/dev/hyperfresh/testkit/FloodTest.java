package dev.hyperfresh.testkit;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.LogFile;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.vm.VirtualMachine;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Peers that flood a daemon of the product's size while a guest beside them moves: an agent and a
/// control channel as sockets that say whatever they like, a console and a hypervisor's log as
/// files that grow. The guest and its replacement are real.
@Tag("slow")
class FloodTest {
  private static final long HEAP_BYTES = 512L << 20;
  private static final int CHUNK_BYTES = 64 << 10;

  /// Some tens of MB a second for each peer, so that the cores are not the bound.
  private static final long PAUSE_NANOS = 300_000;

  private static final Duration PATIENCE = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> processes = new ArrayList<>();
  private final AtomicLong agentBytes = new AtomicLong();
  private final AtomicLong controlBytes = new AtomicLong();
  private volatile boolean over;

  @AfterEach
  void end() throws Exception {
    over = true;
    for (Process process : processes) {
      process.destroyForcibly().waitFor();
    }
  }

  @Test
  void aGuestMovesWhileOthersFlood() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    Path sockets = Files.createDirectory(workspace.state().resolve("hostile"));
    VirtualMachine.Sockets hostile = FloodedDaemon.sockets(sockets);
    serve(hostile.qmp(), greeting(), FloodTest::yes, event(), controlBytes);
    serve(hostile.agent(), "", FloodTest::hello, ends(), agentBytes);
    Process hardware = started(List.of("sleep", "600"));
    Process daemon = started(FloodedDaemon.command(workspace.state(), sockets, hardware.pid()));
    BufferedReader said = daemon.inputReader();
    assertThat(said.readLine()).startsWith(MortalDaemon.SERVING);

    create();
    flood("console.log");
    flood("hypervisor-1.log");
    JsonNode moved = run("replace", "web1", "--to", "qemu-10.0", "--json").succeeds().json();
    assertThat(moved.path("outcome").asString()).isEqualTo("committed");
    Workshop.await("twice as much as may live", PATIENCE, () -> agentBytes.get() > HEAP_BYTES / 2);
    Workshop.await("a control channel that flooded", PATIENCE, () -> controlBytes.get() > 64 << 20);

    assertThat(daemon.isAlive()).isTrue();
    assertThat(heap(daemon, said)).isLessThan(HEAP_BYTES / 4);
    over = true;
    for (String log : List.of("console.log", "hypervisor-1.log")) {
      LogFile file = new LogFile(workspace.files("web1").resolve(log));
      Workshop.await(log, PATIENCE, () -> file.allocatedBytes() <= LogFile.MAX_BYTES);
    }
    run("guest", "delete", "web1", "--force").succeeds();
    daemon.outputWriter().close();
    assertThat(daemon.waitFor()).isZero();
  }

  private void create() throws Exception {
    Files.copy(Workshop.images().tick(), workspace.state().resolve("tick.elf"));
    Path spec = workspace.state().resolve("web1.yaml");
    Files.writeString(
        spec,
        """
        name: web1
        memory: 64M
        accelerator: %s
        release: qemu-7.2
        kernel: tick.elf
        """
            .formatted(AcceleratorWish.TCG.label()));
    run("guest", "create", "-f", spec.toString()).succeeds();
  }

  private Process started(List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(command)
            .redirectError(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start();
    processes.add(process);
    return process;
  }

  private static long heap(Process daemon, BufferedReader said) throws IOException {
    var in = daemon.outputWriter();
    in.write("heap\n");
    in.flush();
    return Long.parseLong(said.readLine());
  }

  private CommandRun run(String... arguments) throws Exception {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.addAll(List.of("--state", workspace.state().toString()));
    return CommandRun.of(line.toArray(String[]::new));
  }

  private static String greeting() {
    return "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":2,\"minor\":0,\"major\":10}},"
        + "\"capabilities\":[]}}\n";
  }

  private static String yes(String line) {
    int from = line.indexOf("\"id\":") + 5;
    String id = line.substring(from, line.indexOf('"', from + 1) + 1);
    return "{\"return\":{},\"id\":" + id + "}\n";
  }

  private static String hello(String line) {
    return line.substring(0, line.indexOf(' ')) + " ok 1 6.12 1000 100 200\n";
  }

  /// An event that is as long as it may be, about a device that nobody knows.
  private static UnaryOperator<String> event() {
    String name = "d".repeat(1_000_000);
    return number ->
        "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\""
            + number
            + name
            + "\"},\"timestamp\":{\"seconds\":1,\"microseconds\":2}}\n";
  }

  /// Ends of programs that nobody started, with as much output as there may be.
  private static UnaryOperator<String> ends() {
    String tail = "x".repeat(2048);
    return number -> "- exited " + number + " 0 " + tail + "\n";
  }

  /// Answers the first request of the first client, then floods it.
  private void serve(
      Path path,
      String greeting,
      UnaryOperator<String> answer,
      UnaryOperator<String> flood,
      AtomicLong bytes) {
    UnixSocket listener = UnixSocket.listen(path, 0600);
    Thread.ofPlatform()
        .daemon()
        .start(() -> {
          try (listener;
              UnixSocket client = listener.accept()) {
            client.send(greeting.getBytes(US_ASCII));
            client.send(answer.apply(request(client)).getBytes(US_ASCII));
            for (int number = 1; !over; number++) {
              StringBuilder text = new StringBuilder(flood.apply(Integer.toString(number)));
              while (text.length() < CHUNK_BYTES) {
                text.append(flood.apply(Integer.toString(++number)));
              }
              byte[] chunk = text.toString().getBytes(US_ASCII);
              client.send(chunk);
              bytes.addAndGet(chunk.length);
              LockSupport.parkNanos(PAUSE_NANOS);
            }
          } catch (LinuxException gone) {
            // The daemon has ended, which the test sees by itself.
            return;
          }
        });
  }

  private static String request(UnixSocket client) {
    StringBuilder text = new StringBuilder();
    byte[] chunk = new byte[4096];
    List<Fd> none = new ArrayList<>();
    while (text.indexOf("\n") < 0 || text.toString().equals("\u0018\n")) {
      int got = client.receive(chunk, none);
      assertThat(got).isPositive();
      text.append(new String(chunk, 0, got, UTF_8));
    }
    return text.toString().replace("\u0018\n", "");
  }

  /// A writer as a hypervisor is one: it appends, and waits for nobody.
  private void flood(String log) throws IOException {
    OutputStream out =
        Files.newOutputStream(
            workspace.files("web1").resolve(log),
            StandardOpenOption.CREATE,
            StandardOpenOption.APPEND);
    byte[] chunk = ("z".repeat(1023) + "\n").repeat(256).getBytes(US_ASCII);
    Thread.ofPlatform()
        .daemon()
        .start(() -> {
          try (out) {
            while (!over) {
              out.write(chunk);
              LockSupport.parkNanos(50 * PAUSE_NANOS);
            }
          } catch (IOException e) {
            throw new AssertionError(e);
          }
        });
  }
}
