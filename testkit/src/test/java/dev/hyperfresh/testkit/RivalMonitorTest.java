package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.UnixSocket;
import dev.hyperfresh.testkit.RivalMonitor.TooLongException;
import dev.hyperfresh.testkit.RivalMonitor.UnavailableException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The control channel of a rival, with a stand-in for the QEMU at the other end.
class RivalMonitorTest {
  @TempDir private Path folder;
  private final byte[] buffer = new byte[8192];
  private UnixSocket qemu;
  private RivalMonitor monitor;

  @BeforeEach
  void connect() {
    Path path = folder.resolve("qmp");
    try (UnixSocket listening = UnixSocket.listen(path, 0600)) {
      ChildProcess process =
          ChildProcess.spawn(
              new ChildProcess.Request(
                  List.of("sleep", "60"),
                  Map.of("PATH", "/usr/bin:/bin"),
                  Map.of(),
                  folder.resolve("log"),
                  true));
      monitor = new RivalMonitor(process, path);
      qemu = listening.accept();
    }
    say("{\"QMP\":{}}");
  }

  @AfterEach
  void end() {
    monitor.kill();
    monitor.kill();
    qemu.close();
  }

  private void say(String line) {
    qemu.send((line + "\n").getBytes(StandardCharsets.UTF_8));
  }

  private JsonNode heard() {
    int count = qemu.receive(buffer, new ArrayList<>());
    return JsonMapper.shared()
        .readTree(new String(buffer, 0, count, StandardCharsets.UTF_8).lines().toList().getLast());
  }

  private void event(String status, int second) {
    say("{\"event\":\"MIGRATION\",\"data\":{\"status\":\"" + status + "\"}," + at(second) + "}");
  }

  private static String at(int second) {
    return "\"timestamp\":{\"seconds\":" + second + ",\"microseconds\":7}";
  }

  private static long soon() {
    return System.nanoTime() + Duration.ofSeconds(5).toNanos();
  }

  @Test
  void anAnswerBelongsToItsCommand() {
    int order = monitor.order("migrate", Map.of("uri", "fd:channel"));
    say("{\"return\":{},\"id\":" + order + "}");
    say("{\"return\":{\"status\":\"active\"},\"id\":" + (order + 1) + "}");
    assertThat(monitor.command("query-migrate", Map.of()).path("status").asString(""))
        .isEqualTo("active");
    JsonNode last = heard();
    assertThat(last.path("execute").asString("")).isEqualTo("query-migrate");
    assertThat(last.path("id").asInt(0)).isEqualTo(order + 1);
  }

  @Test
  void anOrderThatWasRefusedIsToldByTheNextCommand() {
    int order = monitor.order("migrate", Map.of());
    say("{\"error\":{\"desc\":\"a device cannot be moved\"},\"id\":" + order + "}");
    assertThatThrownBy(() -> monitor.command("query-migrate", Map.of()))
        .isInstanceOf(RivalMonitor.TroubleException.class)
        .hasMessageContaining("a device cannot be moved");
  }

  @Test
  void aWayThatQemuDoesNotGoIsUnavailable() {
    say("{\"error\":{\"desc\":\"Postcopy is not supported\"},\"id\":1}");
    assertThatThrownBy(() -> monitor.set(RivalWay.POST_COPY, true))
        .isInstanceOf(UnavailableException.class)
        .hasMessage("QEMU says: Postcopy is not supported");
    assertThat(heard().toString()).contains("postcopy-ram");
  }

  @Test
  void whatElseHappenedBeforeTheEndIsKept() {
    event("active", 1);
    say("{\"event\":\"RESUME\"," + at(2) + "}");
    event("completed", 3);
    say("{\"event\":\"LATER\"," + at(4) + "}");
    assertThat(monitor.awaitCompleted(soon())).isEqualTo(3_000_007);
    assertThat(monitor.awaitEvent("RESUME", soon())).isEqualTo(2_000_007);
    assertThat(monitor.awaitEvent("LATER", soon())).isEqualTo(4_000_007);
  }

  @Test
  void aMigrationThatFailedIsNotAwaited() {
    event("failed", 1);
    assertThatThrownBy(() -> monitor.awaitEvent("RESUME", soon()))
        .isInstanceOf(RivalMonitor.TroubleException.class)
        .hasMessageContaining("instead of RESUME");
  }

  @Test
  void whatDoesNotComeIsGivenUp() {
    assertThatThrownBy(() -> monitor.awaitEvent("RESUME", System.nanoTime()))
        .isInstanceOf(TooLongException.class);
    assertThatCode(() -> monitor.forgetEvents()).doesNotThrowAnyException();
  }

  @Test
  void aQemuThatIsGoneIsNoticed() {
    qemu.close();
    assertThatThrownBy(() -> monitor.awaitEvent("RESUME", soon()))
        .isInstanceOf(RivalMonitor.TroubleException.class)
        .hasMessageContaining("closed its control channel");
  }
}
