package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.dataformat.yaml.YAMLMapper;

/// What commands say to people and to programs, with a daemon that answers what it was given.
@Timeout(60)
class WordsTest {
  private static final String GUESTS =
      """
      {"guests":[
      {"name":"web1","state":"running","release":"qemu-10.0.2","accelerator":"kvm","memory_mib":512,"machine":"pc-q35-7.2","pid":4711},
      {"name":"web2","state":"stopped","release":"","accelerator":"tcg","memory_mib":64,"machine":"pc-q35-7.2","pid":0}]}
      """;

  private final Path state;
  private final FakeDaemon daemon;

  WordsTest(@TempDir Path state) throws IOException {
    this.state = state;
    daemon = new FakeDaemon(state).answering("GET /v1/guests", GUESTS);
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private Said run(String command) {
    List<String> arguments = new ArrayList<>(List.of(command.split(" ")));
    arguments.addAll(List.of("--state", state.toString()));
    return Said.by(arguments.toArray(String[]::new));
  }

  @Test
  void aListIsATableWithoutNumbersOfProcessesThatAreNotThere() {
    for (String command : List.of("guest list", "guest ls", "guest list -o table")) {
      Said said = run(command);

      assertThat(said.exit()).as(said.err()).isZero();
      assertThat(said.out().lines())
          .containsExactly(
              "GUEST  STATE    RELEASE      ACCELERATOR  MEMORY   MACHINE     PID   AUTOSTART "
                  + " RESTARTS ON",
              "web1   running  qemu-10.0.2  kvm          512 MiB  pc-q35-7.2  4711  off        -",
              "web2   stopped               tcg          64 MiB   pc-q35-7.2  -     off        -");
    }
    daemon.answering("GET /v1/guests/web2", "{\"name\":\"web2\",\"state\":\"stopped\",\"pid\":0}");
    assertThat(run("guest show web2").out().lines()).anyMatch(line -> line.matches("pid +-"));
  }

  @Test
  void programsGetTheSameFieldsInEveryFormat() throws Exception {
    JsonNode expected = Output.JSON.readTree(GUESTS);

    for (String command : List.of("guest list --json", "guest list -o json", "-o json guest ls")) {
      Said json = run(command);
      assertThat(json.out().lines()).hasSize(1);
      assertThat(Output.JSON.readTree(json.out())).isEqualTo(expected);
    }
    Said yaml = run("guest list -o yaml");
    assertThat(yaml.out()).startsWith("---\nguests:\n");
    assertThat(YAMLMapper.builder().build().readTree(yaml.out())).isEqualTo(expected);
    assertThat(run("guest list -o name").out().lines()).containsExactly("web1", "web2");
    assertThat(run("guest --json list -o name").out().lines()).containsExactly("web1", "web2");
    daemon.answering("DELETE /v1/guests/web2", "{\"deleted\":\"web2\"}");
    assertThat(run("guest rm web2 -o name").out()).isEqualToIgnoringNewLines("web2");
    daemon.answering("GET /v1/containers", "{\"containers\":[],\"left_over\":[\"old\"]}");
    assertThat(run("container ls -o name").out()).isEmpty();
  }

  /// What looks like a number or a word of YAML is still a string for whoever reads it.
  @Test
  void stringsStayStringsInYaml() {
    String tricky = "{\"name\":\"yes\",\"version\":\"10.0\",\"text\":\"a: b\\nc\",\"none\":null}";
    daemon.answering("GET /v1/guests/yes", tricky);

    assertThat(YAMLMapper.builder().build().readTree(run("guest show yes -o yaml").out()))
        .isEqualTo(Output.JSON.readTree(tricky));
  }

  @Test
  void errorsAreOneLineAndAHint() {
    Said said = run("guest show ghost");

    assertThat(said.exit()).isEqualTo(3);
    assertThat(said.err().lines())
        .containsExactly(
            "hyperfresh: HF-GUEST-002 There is no guest of this name. There is no 'ghost'.",
            "  `hyperfresh guest list` shows the guests.");
    Said json = run("-o json guest show ghost");
    assertThat(Output.JSON.readTree(json.out()).path("code").asString()).isEqualTo("HF-GUEST-002");
    Said yaml = run("guest show ghost -o yaml");
    assertThat(yaml.out()).contains("code: HF-GUEST-002");
    assertThat(json.err() + yaml.err()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--state STATE guest list -o name",
        "guest --state STATE list -o name",
        "guest list --state STATE -o name",
        "--state /nowhere guest list -o name --state STATE",
        "-o json --state STATE guest list -o name"
      })
  void theStateIsNamedAnywhere(String command) {
    Said said = Said.by(command.replace("STATE", state.toString()).split(" "));

    assertThat(said.out().lines()).as(said.err()).containsExactly("web1", "web2");
  }

  @Test
  void theEnvironmentNamesTheStateWhereNoOptionDoes(@TempDir Path folder) throws Exception {
    Map<String, String> here = Map.of("HYPERFRESH_STATE", state.toString());
    assertThat(Said.apart(folder, here, List.of(), "guest", "ls", "-o", "name").end().out().lines())
        .containsExactly("web1", "web2");

    Map<String, String> wrong = Map.of("HYPERFRESH_STATE", "/nowhere");
    Said elsewhere = Said.apart(folder, wrong, List.of(), "guest", "ls").end();
    assertThat(elsewhere.exit()).isEqualTo(7);
    assertThat(elsewhere.err()).contains("/nowhere/daemon.sock");
    assertThat(
            Said.apart(folder, wrong, List.of(), "guest", "ls", "--state", state.toString())
                .end()
                .exit())
        .isZero();
  }

  @Test
  void aSpecComesFromStandardInput() throws Exception {
    daemon.answering("POST /v1/guests", "{\"result\":{\"name\":\"web3\",\"state\":\"running\"}}");
    InputStream before = System.in;
    try {
      System.setIn(new ByteArrayInputStream("name: web3\n".getBytes(StandardCharsets.UTF_8)));
      Said said = run("guest create -f -");
      assertThat(said.exit()).as(said.err()).isZero();
    } finally {
      System.setIn(before);
    }
    JsonNode body = Output.JSON.readTree(daemon.requests.take().split("\n", 2)[1]);
    assertThat(body.path("document").asString()).isEqualTo("name: web3\n");
    assertThat(body.path("base").asString())
        .isEqualTo(String.valueOf(Path.of("").toAbsolutePath()));
  }

  @Test
  void aGuestThatIsThereIsSaidToBe() {
    daemon.answering(
        "POST /v1/guests/web1/replacements",
        "{\"result\":{\"guest\":\"web1\",\"from\":\"q\",\"to\":\"q\",\"outcome\":\"there\"}}");

    Said said = run("replace web1 --to q");

    assertThat(said.exit()).isZero();
    assertThat(said.out())
        .isEqualToIgnoringNewLines(
            "web1 runs on q already; nothing was done. --force replaces it anyway.");
    assertThat(daemon.requests.remove()).contains("\"force\":false");
    assertThat(run("replace web1 --to q --force").exit()).isZero();
    assertThat(daemon.requests.remove()).contains("\"force\":true");
  }

  @Test
  void theFigureThatTheGuestFeltComesFirst() {
    daemon.answering(
        "POST /v1/guests/web1/replacements",
        "{\"result\":{\"guest\":\"web1\",\"from\":\"a\",\"to\":\"m1\",\"outcome\":\"committed\","
            + "\"accelerator\":\"tcg\",\"blackout_ms\":45.87,\"guest_gap_ms\":1048,"
            + "\"noise_floor_ms\":10}}");

    Said said = run("replace web1 --to m1");

    assertThat(said.out().lines().toList().get(1)).startsWith("  heartbeat     1048.00 ms");
    assertThat(said.out().lines().toList().get(2)).startsWith("  blackout        45.87 ms");
    assertThat(said.err().lines().toList())
        .contains(
            "hyperfresh: the guest stood for 1048 ms, longer than the 1000 ms of --max-blackout.");
    assertThat(run("replace web1 --to m1 --max-blackout 2000").err()).doesNotContain("longer than");
  }

  @Test
  void aContainerIsStoppedAndRemovedByTwoCommands() {
    daemon
        .answering("POST /v1/containers/c1/stop", "{\"result\":{\"stopped\":\"c1\"}}")
        .answering("DELETE /v1/containers/c1", "{\"removed\":\"c1\"}");

    assertThat(run("container stop c1").out())
        .isEqualToIgnoringNewLines("c1 is stopped; its files stay.");
    assertThat(run("container rm c1").out())
        .isEqualToIgnoringNewLines("c1 and its files are removed; volumes stay.");
    assertThat(daemon.requests.stream().map(request -> request.split("\n", 2)[0]))
        .containsExactly("POST /v1/containers/c1/stop", "DELETE /v1/containers/c1");
  }
}
