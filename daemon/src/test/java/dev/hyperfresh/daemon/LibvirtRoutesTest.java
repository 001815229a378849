package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.Qemu;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// Requests about domains of libvirt that come to nothing. This host may have a libvirt: none of
/// its domains is called like these.
@Timeout(60)
class LibvirtRoutesTest {
  private static final String NOBODY = "hf test/nobody";

  private final Path state;
  private final Daemon daemon;

  LibvirtRoutesTest(@TempDir Path folder) {
    state = folder.resolve("state");
    ToyHypervisor toys = new ToyHypervisor();
    daemon =
        Daemon.start(
            DaemonConfig.under(state),
            new Kinds(new Qemu(), toys),
            List.of(new ToyReleases(toys, "1.0")));
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private JsonNode ask(Map<String, ?> body) {
    try {
      return new RawHttp(daemon.config().socket())
          .post("/v1/libvirt/replacements", Api.JSON.writeValueAsString(body))
          .lastLine();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void assertProblem(Map<String, ?> body, Problem problem, String detail) {
    JsonNode answer = ask(body).path("problem");
    assertThat(answer.path("code").asString()).as(answer.toString()).isEqualTo(problem.code());
    assertThat(answer.path("detail").asString()).contains(detail);
  }

  @Test
  void domainsAreNamedOrAll() {
    assertProblem(Map.of("to", "toy-1.0"), Problem.API_REQUEST, "exactly one of");
    assertProblem(
        Map.of("to", "toy-1.0", "all", true, "domains", List.of("a")),
        Problem.API_REQUEST,
        "exactly one of");
    assertProblem(Map.of("domains", List.of("a", 1), "to", "x"), Problem.API_REQUEST, "domains");
  }

  @Test
  void whatLibvirtDoesNotRunIsUnknown() {
    for (boolean dryRun : new boolean[] {true, false}) {
      assertProblem(
          Map.of("domains", List.of(NOBODY), "to", "toy-1.0", "dry_run", dryRun),
          Problem.LIBVIRT_UNKNOWN,
          "No domain can be called");
      assertProblem(
          Map.of("domains", List.of("hf-test-nobody"), "to", "toy-1.0", "dry_run", dryRun),
          Problem.LIBVIRT_UNKNOWN,
          "libvirt runs no domain 'hf-test-nobody' here");
    }
    assertThat(state.resolve("libvirt-down.json")).doesNotExist();
  }

  @Test
  void onlyAQemuOfThisHostCanRunADomain() {
    assertProblem(Map.of("all", true, "to", "toy-1.0"), Problem.RELEASE_KIND, "toy-1.0");
    assertProblem(Map.of("all", true, "to", "qemu-0.1"), Problem.RELEASE_UNKNOWN, "qemu-0.1");
  }

  /// What a daemon has left is looked at first, here from a file that gives nothing until somebody
  /// writes.
  @Test
  void oneRequestAtATime() throws Exception {
    Path left = state.resolve("libvirt-down.json");
    assertThat(new ProcessBuilder("mkfifo", left.toString()).start().waitFor()).isZero();
    Map<String, ?> body = Map.of("domains", List.of("hf-test-nobody"), "to", "toy-1.0");
    CompletableFuture<JsonNode> first = CompletableFuture.supplyAsync(() -> ask(body));
    // An open for writing returns when the other side has come to read.
    try (var out = Files.newOutputStream(left)) {
      assertProblem(body, Problem.LIBVIRT_BUSY, "Another request");
      out.write('x');
    }

    assertThat(first.get().path("problem").path("code").asString())
        .isEqualTo(Problem.DAEMON_STATE.code());
    Files.delete(left);
    assertProblem(body, Problem.LIBVIRT_UNKNOWN, "hf-test-nobody");
  }
}
