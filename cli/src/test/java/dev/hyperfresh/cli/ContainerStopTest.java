package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// `hyperfresh container stop`; what it has in common with that of guests is in [GuestStopTest].
@Timeout(60)
class ContainerStopTest {
  @TempDir Path state;
  private FakeDaemon daemon;

  @BeforeEach
  void start() throws IOException {
    daemon = new FakeDaemon(state);
    daemon.answering(
        "GET /v1/containers",
        """
        {"containers":[{"name":"web1","state":"running"},{"name":"done","state":"ended"},
        {"name":"due","state":"ended","next_start":"2026-03-01T12:00:00Z"},
        {"name":"gone","state":"lost"},{"name":"db1","state":"moving"}],"left_over":[]}
        """);
    for (String name : List.of("web1", "due", "db1")) {
      daemon.answering(
          "POST /v1/containers/" + name + "/stop", "{\"result\":{\"stopped\":\"" + name + "\"}}\n");
      daemon.answering(
          "GET /v1/containers/" + name,
          "{\"name\":\"" + name + "\",\"state\":\"ended\",\"exit_code\":0}");
    }
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private Said said(String... arguments) {
    return Said.by(
        Stream.concat(
                Stream.of("container", "stop", "--state", state.toString()), Stream.of(arguments))
            .toArray(String[]::new));
  }

  private List<String> asked() {
    return daemon.requests.stream().filter(request -> request.startsWith("POST")).sorted().toList();
  }

  @Test
  void theirPoliciesStartThemAfterTheBoot() {
    Said said = said("--all", "--until-boot", "--patience=0");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out().lines())
        .containsExactlyInAnyOrder(
            "web1 is stopped; its files stay.",
            "due is stopped; its files stay.",
            "db1 is stopped; its files stay.");
    assertThat(asked())
        .hasSize(3)
        .allMatch(request ->
            request.contains("\"patience_s\":0") && request.contains("\"until_boot\":true"));
  }

  @Test
  void severalAreShownAsTheyEnded() {
    Said said = said("web1", "db1", "--json");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(Output.JSON.readTree(said.out()).path("containers").valueStream())
        .extracting(node -> node.path("name").asString() + " " + node.path("exit_code").asInt())
        .containsExactly("web1 0", "db1 0");
  }

  @Test
  void oneStaysStopped() {
    Said said = said("web1");

    assertThat(said.out()).isEqualTo("web1 is stopped; its files stay.\n");
    assertThat(asked()).hasSize(1).allMatch(request -> request.contains("\"until_boot\":false"));
  }
}
