package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Kinds;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.Qemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// A kind of hypervisor needs nothing but the interfaces of `hypervisor`, and its releases as a
/// [ReleaseKind]: a daemon with such a kind, spoken to over its socket.
@Timeout(60)
class ToyKindTest {
  private static final String COUNTER =
      """
      name: counter
      memory: 16M
      machine: counter
      kernel: program
      """;

  private final ToyHypervisor toys = new ToyHypervisor();
  private final Path folder;
  private final Daemon daemon;
  private final RawHttp api;

  ToyKindTest(@TempDir Path folder) throws IOException {
    this.folder = folder;
    Files.writeString(folder.resolve("program"), "Count.");
    daemon =
        Daemon.start(
            DaemonConfig.under(folder.resolve("state")),
            new Kinds(new Qemu(), toys),
            List.of(new ToyReleases(toys, "1.0", "2.0")));
    api = new RawHttp(daemon.config().socket());
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  @Test
  void aGuestLivesOnAKindThatNobodyElseKnows() throws Exception {
    JsonNode made = create("release: toy-1.0\n").path("result");
    assertThat(made.path("state").asString()).isEqualTo("running");
    assertThat(made.path("kind").asString()).isEqualTo("toy");
    assertThat(made.path("release").asString()).isEqualTo("toy-1.0");
    ToyInstance first = toys.running("counter");
    assertThat(first.count()).isEqualTo(1);
    assertThat(first.count()).isEqualTo(2);

    JsonNode record = replace("toy-2.0").path("result");

    assertThat(record.path("outcome").asString()).as(record.toString()).isEqualTo("committed");
    assertThat(record.path("kind").asString()).isEqualTo("toy");
    assertThat(record.path("from").asString()).isEqualTo("toy-1.0");
    assertThat(record.path("to").asString()).isEqualTo("toy-2.0");
    assertThat(record.path("state_bytes").asLong()).isEqualTo(Long.BYTES);
    assertThat(toys.running("counter").count()).isEqualTo(3);
    assertThat(first.ended()).isTrue();
    assertThatThrownBy(first::count).hasMessageContaining("generation 1");
    JsonNode shown = api.get("/v1/guests/counter").json();
    assertThat(shown.path("release").asString()).isEqualTo("toy-2.0");
    assertThat(shown.path("generation").asInt()).isEqualTo(2);
    assertThat(api.get("/v1/history?guest=counter").json().path("replacements")).hasSize(1);

    assertThat(api.delete("/v1/guests/counter").json().path("code").asString())
        .isEqualTo(Problem.GUEST_RUNS.code());
    assertThat(toys.running("counter").count()).isEqualTo(4);
    assertThat(api.delete("/v1/guests/counter?force=true").status()).isEqualTo(200);
    assertThat(api.get("/v1/guests").json().path("guests")).isEmpty();
    assertThat(toys.uses("toy-2.0")).isFalse();
  }

  @Test
  void aGuestThatIsThereIsLeftAloneUnlessThatIsInsistedOn() throws Exception {
    var _ = create("release: toy-1.0\n");
    ToyInstance first = toys.running("counter");

    JsonNode there = replace("toy-1").path("result");

    assertThat(there.path("outcome").asString()).as(there.toString()).isEqualTo("there");
    assertThat(there.path("to").asString()).isEqualTo("toy-1.0");
    assertThat(toys.running("counter")).isSameAs(first);
    assertThat(api.get("/v1/history").json().path("replacements")).isEmpty();

    String insist = "{\"to\": \"toy-1.0\", \"force\": true, \"max_blackout_ms\": 20000}";
    JsonNode record = api.post("/v1/guests/counter/replacements", insist).lastLine().path("result");
    assertThat(record.path("outcome").asString()).as(record.toString()).isEqualTo("committed");
    assertThat(toys.running("counter")).isNotSameAs(first);
  }

  @Test
  void theAuditNamesTheGuestsOfARollout() throws Exception {
    var _ = create("release: toy-1.0\n");

    var _ = api.post("/v1/rollouts", "{\"to\": \"toy-2.0\", \"guests\": [\"counter\"]}").lastLine();
    var _ = api.post("/v1/rollouts", "{\"to\": \"toy-2.0\", \"all\": true}").lastLine();
    var _ = api.post("/v1/rollouts", "{\"to\": \"toy-2.0\", \"guests\": [\"ghost\"]}").lastLine();

    assertThat(
            api.get("/v1/audit")
                .json()
                .path("actions")
                .valueStream()
                .filter(row -> row.path("what").asString().equals("POST /v1/rollouts"))
                .map(row -> row.path("object").asString() + " " + row.path("outcome").asString()))
        .containsExactly("ghost " + Problem.GUEST_UNKNOWN.code(), "all guests ok", "counter ok");
  }

  @Test
  void aHandOverThatFailsLeavesItWhereItWas() throws Exception {
    var _ = create("release: toy-1.0\n");
    ToyInstance first = toys.running("counter");
    assertThat(first.count()).isEqualTo(1);
    first.losesItsState();

    JsonNode record = replace("toy-2.0").path("result");

    assertThat(record.path("outcome").asString()).as(record.toString()).isEqualTo("rolled-back");
    assertThat(record.path("detail").asString()).contains("the channel ended");
    assertThat(first.count()).isEqualTo(2);
    assertThat(toys.uses("toy-2.0")).isFalse();
  }

  @Test
  void itsReleasesAreListedAndRemovedAsAllAre() throws Exception {
    assertThat(create("release: toy-1\n").path("result").path("release").asString())
        .isEqualTo("toy-1.0");
    assertThat(names()).containsExactly("toy-1.0", "toy-2.0");
    assertThat(api.get("/v1/releases/toy-2").json().path("machines")).hasSize(1);

    assertThat(api.delete("/v1/releases/toy-1.0").json().path("code").asString())
        .isEqualTo(Problem.RELEASE_IN_USE.code());
    assertThat(api.delete("/v1/releases/toy-2.0").status()).isEqualTo(200);

    assertThat(names()).containsExactly("toy-1.0");
    assertThat(replace("toy-2.0").path("problem").path("code").asString())
        .isEqualTo(Problem.RELEASE_UNKNOWN.code());
  }

  @Test
  void itsOwnChecksRefuseWhatItCannotRun() throws Exception {
    JsonNode problem = create("release: toy-1.0\naccelerator: kvm\n").path("problem");

    assertThat(problem.path("code").asString()).isEqualTo(Problem.HOST_MISSING.code());
    assertThat(api.get("/v1/guests").json().path("guests")).isEmpty();
  }

  private List<String> names() throws IOException {
    return api.get("/v1/releases")
        .json()
        .path("releases")
        .valueStream()
        .map(release -> release.path("name").asString())
        .toList();
  }

  private JsonNode create(String more) throws IOException {
    String body =
        Api.JSON.writeValueAsString(Map.of("document", COUNTER + more, "base", folder.toString()));
    return api.post("/v1/guests", body).lastLine();
  }

  private JsonNode replace(String to) throws IOException {
    String body = Api.JSON.writeValueAsString(Map.of("to", to, "max_blackout_ms", 20_000));
    return api.post("/v1/guests/counter/replacements", body).lastLine();
  }
}
