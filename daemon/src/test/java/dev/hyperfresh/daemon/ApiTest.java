package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MissingCallException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// A real daemon without guests, spoken to over its socket.
@Timeout(10)
class ApiTest {
  @TempDir static Path folder = Path.of("");

  private static Daemon daemon;
  private static RawHttp api;

  @BeforeAll
  static void start() {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")));
    api = new RawHttp(daemon.config().socket());
  }

  @AfterAll
  static void stop() {
    daemon.close();
  }

  @Test
  void aCallThatTheHostLacksIsNoDefect() {
    HyperFreshException known = Api.known(MissingCallException.inLibrary("pidfd_getfd"));

    assertThat(known.problem()).isEqualTo(Problem.HOST_SYSTEM);
    assertThat(known.detail()).startsWith("pidfd_getfd: the C library");
  }

  @Test
  void onlyTheOwnerMayEnter() throws Exception {
    Path state = daemon.config().state();

    for (String secret : List.of("daemon.sock", "daemon.lock", "journal.log", "history.db")) {
      assertThat(
              PosixFilePermissions.toString(Files.getPosixFilePermissions(state.resolve(secret))))
          .as(secret)
          .isEqualTo("rw-------");
    }
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(state.resolve("run"))))
        .isEqualTo("rwx------");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(state)))
        .isIn("rwx------", "rwx--x--x");
    assertThat(Files.exists(daemon.config().socket(), LinkOption.NOFOLLOW_LINKS)).isTrue();
  }

  @ParameterizedTest
  @CsvSource({
    "/v1/guests,guests",
    "/v1/releases,releases",
    "/v1/machines,machines",
    "/v1/history,replacements"
  })
  void aNewDaemonHasEmptyLists(String path, String member) throws Exception {
    RawHttp.Answer answer = api.get(path);

    assertThat(answer.status()).isEqualTo(200);
    assertThat(answer.type()).isEqualTo("application/json");
    assertThat(answer.json().path(member).isArray()).isTrue();
    assertThat(answer.json().path(member).size()).isZero();
  }

  @Test
  void anErrorIsAProblemDocument() throws Exception {
    RawHttp.Answer answer = api.get("/v1/guests/nobody");

    assertThat(answer.status()).isEqualTo(404);
    assertThat(answer.type()).isEqualTo("application/problem+json");
    JsonNode problem = answer.json();
    assertThat(problem.propertyNames())
        .containsExactlyInAnyOrder("type", "title", "status", "code", "detail", "advice");
    assertThat(problem.path("type").asString()).isEqualTo("urn:hyperfresh:HF-GUEST-002");
    assertThat(problem.path("title").asString()).isEqualTo(Problem.GUEST_UNKNOWN.summary());
    assertThat(problem.path("status").asInt()).isEqualTo(404);
    assertThat(problem.path("code").asString()).isEqualTo("HF-GUEST-002");
    assertThat(problem.path("detail").asString()).contains("'nobody'");
    assertThat(problem.path("advice").asString()).isEqualTo(Problem.GUEST_UNKNOWN.advice());
  }

  @ParameterizedTest
  @CsvSource({
    "GET,/v1/guests/nobody,HF-GUEST-002",
    "DELETE,/v1/guests/nobody,HF-GUEST-002",
    "GET,/v1/releases/none,HF-RELEASE-001",
    "DELETE,/v1/releases/none,HF-RELEASE-001",
    "GET,/v1/machines/none,HF-MACHINE-002",
    "DELETE,/v1/machines/none,HF-MACHINE-002",
    "DELETE,/v1/machines,HF-API-005",
    "GET,/v1/history?limit=many,HF-API-001",
    "GET,/,HF-API-004",
    "GET,/v1,HF-API-004",
    "GET,/v2/guests,HF-API-004",
    "GET,/v1/guests/a/b,HF-API-004",
    "PUT,/v1/guests,HF-API-005",
    "PATCH,/v1/guests/nobody,HF-API-005",
    "DELETE,/v1/guests,HF-API-005",
    "POST,/v1/history,HF-API-005"
  })
  void aRequestThatCannotBeServedIsAProblem(String method, String path, String code)
      throws Exception {
    RawHttp.Answer answer = api.send(method, path, "");

    assertProblem(answer, code);
  }

  @Test
  void aFieldThatIsSpelledWrongIsNamed() throws Exception {
    RawHttp.Answer answer =
        api.post("/v1/guests/nobody/replacements", "{\"to\": \"qemu-10.0\", \"max_blackout\": 5}");

    assertProblem(answer, "HF-API-001");
    assertThat(answer.json().path("detail").asString())
        .contains("'max_blackout'")
        .contains("max_blackout_ms");
  }

  @ParameterizedTest
  @ValueSource(strings = {"stop", "replacements"})
  void workOnAnUnknownGuestEndsWithItsProblem(String work) throws Exception {
    RawHttp.Answer answer =
        api.post(
            "/v1/guests/nobody/" + work, work.equals("stop") ? "{}" : "{\"to\": \"qemu-10.0\"}");

    assertThat(answer.status()).isEqualTo(200);
    assertThat(answer.type()).isEqualTo("application/x-ndjson");
    assertThat(answer.lastLine().path("problem").path("code").asString())
        .isIn("HF-GUEST-002", "HF-RELEASE-001");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"{", "[]", "null", "42", "\"text\"", "{\"to\": }", "{} trailing", "\u0000"})
  void aBodyThatIsNoObjectIsRefused(String body) throws Exception {
    for (String path :
        List.of(
            "/v1/guests",
            "/v1/releases",
            "/v1/machines",
            "/v1/machines/none/replacements",
            "/v1/guests/nobody/plan",
            "/v1/guests/nobody/stop",
            "/v1/guests/nobody/replacements")) {
      assertProblem(api.post(path, body), "HF-API-001");
    }
  }

  @Test
  void aBodyThatNestsWithoutEndIsRefused() throws Exception {
    assertProblem(api.post("/v1/guests", "[".repeat(100_000)), "HF-API-001");
    assertProblem(api.post("/v1/guests", "{\"a\":".repeat(20_000)), "HF-API-001");
    assertAlive();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "..%5c..",
        "%00",
        "a%0ab",
        "%c3%a9",
        "%ff%fe",
        "'%20OR%20''%3d'",
        "%3cscript%3e",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
      })
  void aNameThatIsNoneTouchesNothing(String name) throws Exception {
    Path precious = Files.writeString(folder.resolve("precious"), "keep");
    List<String> before = tree();

    for (String kind : List.of("guests", "releases", "machines")) {
      for (RawHttp.Answer answer :
          List.of(api.get("/v1/" + kind + "/" + name), api.delete("/v1/" + kind + "/" + name))) {
        assertThat(answer.status()).isIn(400, 404);
        assertThat(answer.json().path("code").asString())
            .isIn("HF-API-003", "HF-GUEST-002", "HF-RELEASE-001", "HF-MACHINE-002");
      }
    }
    assertThat(tree()).isEqualTo(before);
    assertThat(precious).hasContent("keep");
    assertAlive();
  }

  @ParameterizedTest
  @ValueSource(strings = {"x", "/v1/../../etc", "/v1/guests/%zz", "http://["})
  void aTargetThatIsNoneIsRefused(String target) throws Exception {
    assertThat(api.get(target).status()).isIn(0, 400, 404);
    assertAlive();
  }

  @ParameterizedTest
  @ValueSource(strings = {"GARBAGE\r\n\r\n", "\r\n\r\n", "GET /v1/guests\r\n\r\n", "\u0000\u0001"})
  void whatIsNoHttpIsRefused(String request) throws Exception {
    if (request.endsWith("\r\n\r\n")) {
      assertThat(api.send(request).status()).isNotEqualTo(200);
    }
    assertAlive();
  }

  @Test
  void aSpecIsRefusedWithAllItsFaults() throws Exception {
    JsonNode problem = create("name: 1web\nvcpus: 0\nmemory: lots\n").path("problem");

    assertThat(problem.path("code").asString()).isEqualTo("HF-SPEC-002");
    assertThat(problem.path("detail").asString()).contains("'1web'", "vcpus: 0", "'lots'");
    assertThat(create("name: [").path("problem").path("code").asString()).isEqualTo("HF-SPEC-001");
    assertThat(create("#" + "x".repeat(SpecDocument.MAX_BYTES)).path("problem").path("code"))
        .hasToString("\"HF-SPEC-001\"");
  }

  @Test
  void aGuestWithoutAnyReleaseIsRefused() throws Exception {
    assertThat(create("name: web1\nkernel: k\n").path("problem").path("code").asString())
        .isEqualTo("HF-RELEASE-001");
    assertThat(api.get("/v1/guests").json().path("guests").size()).isZero();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"document\": \"name: a\"}",
        "{\"base\": \"/\"}",
        "{\"document\": \"name: a\", \"base\": \"relative\"}",
        "{\"document\": \"name: a\", \"base\": \"/a\\u0000b\"}",
        "{\"document\": 5, \"base\": {}}"
      })
  void aCreationWithoutItsPartsIsRefused(String body) throws Exception {
    assertThat(api.post("/v1/guests", body).lastLine().path("problem").path("code").asString())
        .isEqualTo("HF-API-001");
  }

  @ParameterizedTest
  @CsvSource({"0", "-1", "60001", "9223372036854775807", "null", "[]"})
  void aBlackoutBudgetOutOfRangeIsRefused(String budget) throws Exception {
    String body = "{\"to\": \"qemu-10.0\", \"max_blackout_ms\": " + budget + "}";

    RawHttp.Answer answer = api.post("/v1/guests/nobody/replacements", body);

    assertThat(answer.lastLine().path("problem").path("code").asString())
        .isIn("HF-API-001", "HF-RELEASE-001", "HF-GUEST-002");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{}",
        "{\"name\": \"\"}",
        "{\"from\": \"\"}",
        "{\"from\": \"debian-10.0\", \"kernel\": \"6.12\", \"qemu\": \"10.0\"}",
        "{\"path\": \"qemu\"}",
        "{\"path\": \"/a\\u0000b\"}"
      })
  void aReleaseWithoutAPlaceIsRefused(String body) throws Exception {
    assertThat(api.post("/v1/releases", body).lastLine().path("problem").path("code").asString())
        .isEqualTo("HF-API-001");
  }

  @Test
  void aQemuThatThereAreNoPatchesForIsNotBuilt() throws Exception {
    JsonNode problem =
        api.post("/v1/releases", "{\"from\": \"debian-9.2\"}").lastLine().path("problem");

    assertThat(problem.path("code").asString()).isEqualTo(Problem.RELEASE_KIND.code());
    assertThat(problem.path("detail").asString()).contains("'debian-9.2' is not debian-10.0");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{} | HF-API-001",
        "{\"name\": \"m1\"} | HF-API-001",
        "{\"name\": \"m1\", \"release\": \"machine-6.12\", \"memory_mib\": -1} | HF-API-001",
        "{\"name\": \"machine-6.12\", \"release\": \"machine-6.12\"} | HF-SPEC-002",
        "{\"name\": \"latest\", \"release\": \"machine-6.12\"} | HF-SPEC-002",
        "{\"name\": \"m1\", \"release\": \"machine-6.12\"} | HF-MACHINE-001"
      })
  void aMachineThatCannotBeIsRefused(String body, String code) throws Exception {
    JsonNode problem = api.post("/v1/machines", body).lastLine().path("problem");

    assertThat(problem.path("code").asString()).isEqualTo(code);
    if (code.equals(Problem.MACHINE_START.code())) {
      assertThat(problem.path("detail").asString()).contains("hyperfresh release fetch qemu-10.0");
    }
    assertThat(api.get("/v1/machines").json().path("machines").size()).isZero();
    assertThat(daemon.config().state().resolve("machines")).doesNotExist();
  }

  @Test
  void anUnknownMachineIsNotReplaced() throws Exception {
    RawHttp.Answer answer =
        api.post("/v1/machines/none/replacements", "{\"to\": \"machine-6.12\"}");

    assertThat(answer.lastLine().path("problem").path("code").asString())
        .isEqualTo("HF-MACHINE-002");
  }

  @ParameterizedTest
  @ValueSource(strings = {"/etc/passwd", "/nowhere", "/tmp", "/bin/true"})
  void whatIsNoQemuIsNotAdded(String path) throws Exception {
    RawHttp.Answer answer =
        api.post("/v1/releases", Api.JSON.writeValueAsString(Map.of("path", path)));

    assertThat(answer.lastLine().path("problem").path("code").asString())
        .isIn("HF-RELEASE-001", "HF-RELEASE-002");
    assertThat(api.get("/v1/releases").json().path("releases").size()).isZero();
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-5", "1", "1000", "2147483647"})
  void theHistorysLimitIsClamped(String limit) throws Exception {
    assertThat(api.get("/v1/history?limit=" + limit).status()).isEqualTo(200);
    assertThat(api.get("/v1/history?guest=%27%20OR%201%3d1&limit=" + limit).status())
        .isEqualTo(200);
  }

  @Test
  void manyClientsAreServedAtOnce() throws Exception {
    try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Integer>> answers = new ArrayList<>();
      Callable<Integer> request = () -> api.get("/v1/guests").status();
      for (int i = 0; i < 100; i++) {
        answers.add(clients.submit(request));
      }
      for (Future<Integer> answer : answers) {
        assertThat(answer.get()).isEqualTo(200);
      }
    }
  }

  private static JsonNode create(String document) throws Exception {
    String body =
        Api.JSON.writeValueAsString(Map.of("document", document, "base", folder.toString()));
    return api.post("/v1/guests", body).lastLine();
  }

  private static void assertProblem(RawHttp.Answer answer, String code) {
    assertThat(answer.type()).as(answer.body()).isEqualTo("application/problem+json");
    assertThat(answer.json().path("code").asString()).isEqualTo(code);
    assertThat(answer.json().path("status").asInt()).isEqualTo(answer.status());
  }

  private static void assertAlive() throws Exception {
    assertThat(api.get("/v1/guests").status()).isEqualTo(200);
  }

  /// Everything under the folder but what SQLite moves by itself.
  private static List<String> tree() throws Exception {
    try (var files = Files.walk(folder)) {
      return files
          .map(Path::toString)
          .filter(file -> !file.contains("history.db"))
          .sorted()
          .toList();
    }
  }
}
