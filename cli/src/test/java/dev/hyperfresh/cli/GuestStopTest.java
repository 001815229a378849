package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest stop` of several guests.
@Timeout(60)
class GuestStopTest {
  @TempDir Path state;
  private FakeDaemon daemon;

  @BeforeEach
  void start() throws IOException {
    daemon = new FakeDaemon(state);
    daemon.answering(
        "GET /v1/guests",
        """
        {"guests":[{"name":"web1","state":"running"},{"name":"old","state":"stopped"},
        {"name":"web2","state":"replacing"},{"name":"db1","state":"recovering"},
        {"name":"due","state":"stopped","to_start":true}]}
        """);
    for (String name : List.of("web1", "web2", "db1", "due")) {
      daemon.answering(
          stop(name), "{\"result\":{\"name\":\"" + name + "\",\"state\":\"stopped\"}}\n");
    }
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private static String stop(String name) {
    return "POST /v1/guests/" + name + "/stop";
  }

  private Said said(String... arguments) {
    return Said.by(
        Stream.concat(Stream.of("guest", "stop", "--state", state.toString()), Stream.of(arguments))
            .toArray(String[]::new));
  }

  private List<String> asked() {
    return daemon.requests.stream().filter(request -> request.startsWith("POST")).sorted().toList();
  }

  @Test
  void everyOneThatHasNotStoppedIsAsked() {
    Said said = said("--all", "--patience", "0");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out().lines())
        .containsExactlyInAnyOrder(
            "web1 is stopped.", "web2 is stopped.", "db1 is stopped.", "due is stopped.");
    assertThat(asked())
        .containsExactly(
            stop("db1") + "\n{\"patience_s\":0}",
            stop("due") + "\n{\"patience_s\":0}",
            stop("web1") + "\n{\"patience_s\":0}",
            stop("web2") + "\n{\"patience_s\":0}");
  }

  /// A host that shuts down does not wait for the one that cannot be.
  @Test
  void oneThatCannotBeStoppedDoesNotKeepTheOthers() {
    daemon.answering(
        stop("web1"),
        "{\"problem\":{\"code\":\"%s\",\"detail\":\"It hangs.\",\"status\":409}}\n"
            .formatted(Problem.GUEST_STATE.code()));

    Said said = said("--all", "--json");

    assertThat(said.exit()).isEqualTo(Problem.GUEST_STATE.exitCode());
    assertThat(said.err()).contains("hyperfresh: web1: " + Problem.GUEST_STATE.code(), "It hangs.");
    assertThat(
            Output.JSON
                .readTree(said.out())
                .path("guests")
                .valueStream()
                .map((JsonNode guest) -> guest.path("name").asString()))
        .containsExactly("web2", "db1", "due");
  }

  @Test
  void thoseThatAreNamedAreStopped() {
    Said said = said("web1", "db1", "-o", "name");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out().lines()).containsExactly("web1", "db1");
    assertThat(asked()).hasSize(2);
  }

  /// As one that starts with the host, which goes down again.
  @Test
  void oneThatIsStartedMeanwhileIsStoppedToo() {
    daemon.answering(stop("late"), "{\"result\":{\"name\":\"late\",\"state\":\"stopped\"}}\n");
    daemon.meanwhile(
        stop("web1"),
        () ->
            daemon.answering(
                "GET /v1/guests", "{\"guests\":[{\"name\":\"late\",\"state\":\"starting\"}]}"));

    assertThat(said("--all").out()).contains("late is stopped.");
  }

  @Test
  void thoseThatAreNamedTwiceAreAskedOnce() {
    assertThat(said("web1", "db1", "web1").out().lines()).hasSize(2);
    assertThat(asked()).hasSize(2);
  }

  @Test
  void nothingIsThereToStop() {
    daemon.answering("GET /v1/guests", "{\"guests\":[]}");

    assertThat(said("--all").exit()).isZero();
    assertThat(asked()).isEmpty();
  }
}
