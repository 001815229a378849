package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// `hyperfresh replace --libvirt`, and what it says of the daemon's answer.
@Timeout(60)
class ReplaceLibvirtTest {
  private static final String REQUEST = "POST /v1/libvirt/replacements";

  @TempDir Path state;
  private FakeDaemon daemon;

  @BeforeEach
  void start() throws IOException {
    daemon = new FakeDaemon(state);
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private Said said(String... arguments) {
    return Said.by(
        Stream.concat(
                Stream.of("replace", "--libvirt", "--state", state.toString()),
                Stream.of(arguments))
            .toArray(String[]::new));
  }

  private void answer(String outcome, String misses, String stopped, String more) {
    daemon.answering(
        REQUEST,
        """
        {"result":{"to":"qemu-10.0.2","stopped":"%s","misses":[%s],"guests":[{"guest":"web 1",\
        "from":"qemu-7.2.22","outcome":"%s","problem":"","detail":""}],%s}}
        """
            .formatted(stopped, misses, outcome, more));
  }

  @Test
  void domainsAreNamedAndTheTimeOfTheirLibvirtIsTold() throws Exception {
    answer(
        "committed", "", "", "\"dry_run\":false,\"service\":\"libvirtd.service\",\"away_ms\":1940");
    Said said = said("web 1", "db1", "--to", "installed", "--max-blackout", "500", "--canary", "1");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out())
        .contains("web 1", "committed", "libvirt (libvirtd.service) did not answer for 1.9 s.");
    String request = daemon.requests.take();
    assertThat(request).startsWith(REQUEST);
    JsonNode body = Output.JSON.readTree(request.substring(request.indexOf('{')));
    assertThat(body.path("domains").valueStream().map(JsonNode::asString))
        .containsExactly("web 1", "db1");
    assertThat(body.path("to").asString()).isEqualTo("installed");
    assertThat(body.path("dry_run").asBoolean()).isFalse();
    assertThat(body.path("all").asBoolean()).isFalse();
    assertThat(body.path("max_blackout_ms").asInt()).isEqualTo(500);
    assertThat(body.path("canary").asInt()).isEqualTo(1);
  }

  @Test
  void aDryRunSaysWhatWouldBeDone() throws Exception {
    answer("movable", "", "", "\"dry_run\":true,\"service\":\"libvirtd (process 4711)\"");
    Said said = said("--all", "--to", "qemu-10.0", "--dry-run", "--no-rehearsal");

    assertThat(said.exit()).isZero();
    assertThat(said.out())
        .contains("Nothing was done. libvirt (libvirtd (process 4711)) would be ended");
    assertThat(daemon.requests.take())
        .contains("\"dry_run\":true", "\"all\":true", "\"rehearse\":false");
  }

  @Test
  void whatWasNotMovedIsAFailure() {
    answer("left-alone", "\"web 1\"", "", "\"dry_run\":false,\"service\":\"\"");
    Said alone = said("web 1", "--to", "qemu-10.0");
    assertThat(alone.exit()).isEqualTo(Problem.REPLACE_OBSTACLES.exitCode());
    assertThat(alone.out()).contains("left-alone", "libvirt was left alone.");

    answer("failed", "\"web 1\"", "Why.", "\"dry_run\":false,\"service\":\"libvirtd.service\"");
    Said down = said("web 1", "--to", "qemu-10.0");
    assertThat(down.exit()).isEqualTo(Problem.REPLACE_OBSTACLES.exitCode());
    assertThat(down.out()).contains("Why.", "libvirt (libvirtd.service) is DOWN.");
  }
}
