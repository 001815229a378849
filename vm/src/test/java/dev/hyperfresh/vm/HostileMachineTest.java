package dev.hyperfresh.vm;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.ClosedException;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.qemu.HostProcess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A machine whose hardware and agent say what they like.
@Timeout(120)
class HostileMachineTest {
  private static final Duration LIMIT = Duration.ofSeconds(20);
  private static final String GREETING =
      "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":2,\"minor\":0,\"major\":10}},"
          + "\"capabilities\":[]}}\n";
  private static final String HELLO = " ok 1 6.12 1000 100 200\n";

  @TempDir Path folder;
  private HostProcess process;
  private UnixSocket qmp;
  private UnixSocket agent;
  private VirtualMachine.Sockets sockets;

  @BeforeEach
  void listen() {
    sockets = VirtualMachine.Sockets.of(folder, "m1", "machine");
    qmp = UnixSocket.listen(sockets.qmp(), 0600);
    agent = UnixSocket.listen(sockets.agent(), 0600);
    process =
        HostProcess.of(
            ChildProcess.spawn(
                new ChildProcess.Request(
                    List.of("sleep", "600"),
                    Map.of("PATH", "/usr/bin:/bin"),
                    Map.of(),
                    folder.resolve("hardware.log"),
                    true)));
  }

  @AfterEach
  void end() {
    qmp.close();
    agent.close();
  }

  @Test
  void endsThatNobodyWaitsForAreForgotten() throws Exception {
    serve(qmp, GREETING, line -> "{\"return\":{},\"id\":" + id(line) + "}\n");
    serve(agent, "", line -> line.contains(" hello") ? number(line) + HELLO : flood(line));
    try (VirtualMachine machine = open()) {
      machine.ask(Agent::clock);

      var ends = VmPrograms.class.getDeclaredField("ends");
      var early = ProgramEnds.class.getDeclaredField("early");
      ends.setAccessible(true);
      early.setAccessible(true);
      assertThat((Map<?, ?>) early.get(ends.get(machine.programs())))
          .hasSize(ProgramEnds.MAX_EARLY);
      assertThat(machine.programs().runToEnd(List.of("true"), LIMIT).tail()).isEqualTo("mine");
    }
  }

  /// Thousands of ends with as much output as there may be, before the answer.
  private static String flood(String line) {
    if (line.contains(" start ")) {
      return "- exited 7 0 mine\n" + number(line) + " ok 7\n";
    }
    StringBuilder ends = new StringBuilder();
    String tail = "x".repeat(Agent.Exited.MAX_TAIL);
    for (int i = 0; i < 5_000; i++) {
      ends.append("- exited ").append(1000 + i).append(" 0 ").append(tail).append('\n');
    }
    return ends + number(line) + " ok 1\n";
  }

  @Test
  void aProgramThatDoesNotEndIsKilled() {
    serve(qmp, GREETING, line -> "{\"return\":{},\"id\":" + id(line) + "}\n");
    List<String> heard = new CopyOnWriteArrayList<>();
    serve(
        agent,
        "",
        line -> {
          heard.add(line);
          String answer = line.contains(" start ") ? " ok 7\n" : " ok\n";
          return number(line) + (line.contains(" hello") ? HELLO : answer);
        });
    try (VirtualMachine machine = open()) {
      assertThatThrownBy(
              () -> machine.programs().runToEnd(List.of("sleep", "600"), Duration.ofMillis(200)))
          .isInstanceOf(TroubleException.class);
    }
    assertThat(heard)
        .filteredOn(line -> line.contains(" signal "))
        .first()
        .asString()
        .endsWith(" signal 7 " + Signals.KILL);
  }

  @Test
  void anEndWithTooMuchOutputEndsTheConnection() {
    serve(qmp, GREETING, line -> "{\"return\":{},\"id\":" + id(line) + "}\n");
    String end = "- exited 7 0 " + "x".repeat(Agent.Exited.MAX_TAIL + 1) + "\n";
    serve(agent, "", line -> line.contains(" hello") ? number(line) + HELLO : end);
    try (VirtualMachine machine = open()) {
      assertThatThrownBy(() -> machine.ask(Agent::clock))
          .hasMessageContaining("an end with an output of 2049 characters");
    }
  }

  @Test
  void whatAnAgentSaysIsKeptInPart() {
    serve(qmp, GREETING, line -> "{\"return\":{},\"id\":" + id(line) + "}\n");
    String text = "n".repeat(60_000);
    serve(
        agent,
        "",
        line -> number(line) + (line.contains(" hello") ? HELLO : " error " + text + "\n"));
    try (VirtualMachine machine = open()) {
      assertThatThrownBy(() -> machine.ask(Agent::clock))
          .satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(1200));
    }
    assertThatThrownBy(this::openToALongRelease).hasMessageContaining("a kernel release of 65");
  }

  private void openToALongRelease() {
    end();
    listen();
    serve(qmp, GREETING, line -> "{\"return\":{},\"id\":" + id(line) + "}\n");
    serve(agent, "", line -> number(line) + " ok 1 " + "6".repeat(65) + " 1 1 1\n");
    try {
      open().close();
    } finally {
      process.kill();
    }
  }

  @Test
  void itsLogsAreReadInPart() throws Exception {
    Files.writeString(folder.resolve("console.log"), ("n".repeat(100) + "\n").repeat(1_000_000));
    Files.writeString(folder.resolve("hardware.log"), "x".repeat(1_000_000));

    assertThat(VmHardware.lastWords(folder)).hasSizeLessThan(2_000).contains("nnn", "xxx");
    process.kill();
  }

  private VirtualMachine open() {
    return new VirtualMachine("machine m1", false, folder, sockets, process, LIMIT);
  }

  private static String id(String line) {
    int from = line.indexOf("\"id\":") + 5;
    return line.substring(from, line.indexOf('"', from + 1) + 1);
  }

  private static String number(String line) {
    return line.substring(0, line.indexOf(' '));
  }

  /// Answers each line of one client.
  private static void serve(UnixSocket listener, String greeting, Function<String, String> answer) {
    Thread.ofPlatform()
        .daemon()
        .start(() -> {
          try (UnixSocket client = listener.accept()) {
            client.send(greeting.getBytes(US_ASCII));
            StringBuilder line = new StringBuilder();
            byte[] chunk = new byte[4096];
            List<Fd> none = new ArrayList<>();
            for (int got = client.receive(chunk, none);
                got >= 0;
                got = client.receive(chunk, none)) {
              line.append(new String(chunk, 0, got, US_ASCII));
              for (int end = line.indexOf("\n"); end >= 0; end = line.indexOf("\n")) {
                String request = line.substring(0, end);
                line.delete(0, end + 1);
                if (!request.equals("\u0018")) {
                  client.send(answer.apply(request).getBytes(US_ASCII));
                }
              }
            }
          } catch (LinuxException | ClosedException gone) {
            // The client has heard enough.
            return;
          }
        });
  }
}
