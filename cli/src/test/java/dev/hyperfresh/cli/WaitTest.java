package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Commands that follow the daemon, and what becomes of those that are interrupted.
@Timeout(60)
class WaitTest {
  private static final String WEB1 = "GET /v1/guests/web1";

  @TempDir Path folder;

  private final Path state;
  private final FakeDaemon daemon;

  WaitTest(@TempDir Path state) throws IOException {
    this.state = state;
    daemon = new FakeDaemon(state).answering(WEB1, guest("starting"));
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private static String guest(String state) {
    return "{\"name\":\"web1\",\"state\":\"" + state + "\",\"pid\":1}";
  }

  private Said await(String condition, String timeout) {
    return Said.by(
        "wait",
        "guest/web1",
        "--for=" + condition,
        "--timeout",
        timeout,
        "--state",
        state.toString());
  }

  /// Waits for a request that begins like that.
  private void awaitRequest(String wanted) throws InterruptedException {
    while (!daemon.requests.take().startsWith(wanted)) {
      // Another one.
    }
  }

  @Test
  void whatHoldsAlreadyIsNotWaitedFor() {
    Said said = await("state=starting", "30s");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out()).isEqualToIgnoringNewLines("guest/web1 has state=starting.");
  }

  @Test
  void anEventMakesItLookAgain() throws Exception {
    CompletableFuture<Said> waiting =
        CompletableFuture.supplyAsync(() -> await("state=running", "30s"));
    awaitRequest(WEB1);
    daemon.tell("guest.changed", "web2");
    daemon.answering(WEB1, guest("running"));
    daemon.tell("guest.changed", "web1");

    Said said = waiting.get();

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out()).isEqualToIgnoringNewLines("guest/web1 has state=running.");
    // Of another guest it is not asked.
    awaitRequest(WEB1);
    assertThat(daemon.requests).isEmpty();
  }

  @Test
  void theEndOfAThingIsWaitedFor() throws Exception {
    CompletableFuture<Said> waiting = CompletableFuture.supplyAsync(() -> await("deleted", "30s"));
    awaitRequest(WEB1);
    daemon.forget(WEB1);
    daemon.tell("guest.deleted", "web1");

    assertThat(waiting.get().out()).isEqualToIgnoringNewLines("guest/web1 is deleted.");
  }

  @Test
  void whatDoesNotComeInTimeIsSaid() {
    Said said = await("state=running", "200ms");

    assertThat(said.exit()).isEqualTo(Problem.WAIT_TIMEOUT.exitCode());
    assertThat(said.err())
        .contains("HF-WAIT-001", "within 200ms that guest/web1 has state=running");
    daemon.forget(WEB1);
    assertThat(await("state=running", "30s").err()).contains("HF-GUEST-002");
  }

  @Test
  void aListThatIsWatchedPrintsWhatChanges() throws Exception {
    daemon.answering("GET /v1/guests", "{\"guests\":[" + guest("starting") + "]}");
    Said.Apart watching =
        Said.apart(
            folder,
            Map.of(),
            List.of(),
            "guest",
            "list",
            "--watch",
            "-o",
            "json",
            "--state",
            state.toString());
    try {
      awaitOutput(watching.out(), text -> text.contains("starting"));
      daemon.tell("guest.changed", "web1");
      daemon.tell("container.changed", "c1");
      daemon.answering(
          "GET /v1/guests",
          "{\"guests\":[" + guest("running") + ",{\"name\":\"web2\",\"state\":\"running\"}]}");
      daemon.tell("guest.changed", "web1");
      awaitOutput(watching.out(), text -> text.contains("web2"));
      daemon.answering("GET /v1/guests", "{\"guests\":[" + guest("running") + "]}");
      daemon.tell("guest.deleted", "web2");
      awaitOutput(watching.out(), text -> text.contains("gone"));
    } finally {
      watching.process().destroy();
    }
    assertThat(
            Files.readString(watching.out())
                .lines()
                .map(Output.JSON::readTree)
                .map(thing -> thing.path("name").asString() + " " + thing.path("state").asString()))
        .containsExactly("web1 starting", "web1 running", "web2 running", "web2 gone");
  }

  private static void awaitOutput(Path file, Predicate<String> wanted) throws Exception {
    while (!wanted.test(Files.readString(file))) {
      Thread.sleep(50);
    }
  }

  @Test
  void whoeverInterruptsAReplacementLearnsThatItGoesOn() throws Exception {
    String path = "POST /v1/guests/web1/replacements";
    daemon.holding(path);
    // A shell has what it starts in the background ignore the signal.
    List<String> hearing = List.of("env", "--default-signal=INT");
    Said.Apart replacing =
        Said.apart(
            folder,
            Map.of(),
            hearing,
            "replace",
            "web1",
            "--to",
            "qemu-10.0",
            "--state",
            state.toString());
    awaitRequest(path);

    var _ =
        new ProcessBuilder("kill", "-INT", Long.toString(replacing.process().pid()))
            .start()
            .waitFor();

    Said said = replacing.end();
    assertThat(said.exit()).isEqualTo(130);
    assertThat(said.err())
        .contains("interrupted; the daemon continues what it has begun", "hyperfresh history");
  }

  /// Without a capability, root is as any other user.
  @Test
  void aSocketThatThisUserMayNotUseIsNoAbsentDaemon() throws Exception {
    boolean root = (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid") == 0;
    List<String> humble =
        root
            ? List.of("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
            : List.of();
    assumeThat(Files.exists(Path.of("/usr/bin/setpriv")) || !root).isTrue();
    for (String mode : List.of("r--------", "---------")) {
      Files.setPosixFilePermissions(
          mode.startsWith("r") ? state.resolve("daemon.sock") : state,
          PosixFilePermissions.fromString(mode));
      try {
        Said said =
            Said.apart(folder, Map.of(), humble, "guest", "list", "--state", state.toString())
                .end();

        assertThat(said.err())
            .contains(Problem.DAEMON_DENIED.code(), "Permission denied", "daemon.sock")
            .doesNotContain(Problem.DAEMON_ABSENT.code());
        assertThat(said.exit()).isEqualTo(3);
      } finally {
        Files.setPosixFilePermissions(state, PosixFilePermissions.fromString("rwx------"));
      }
    }
  }
}
