package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Problem;
import io.helidon.http.Method;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/// Every route of the real table, asked for by every role in every spelling. What stands in for the
/// handlers only writes down that it was reached; senders are those whom the gateway would name.
@Timeout(120)
class RoutesTest {
  private static final String NAME = "x1";
  private static final long PATIENCE_NANOS = 5_000_000_000L;
  private static final List<String> METHODS =
      List.of("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND");

  /// Roles, and none.
  private static final List<Optional<Role>> SENDERS =
      Stream.concat(Stream.of(Optional.<Role>empty()), Stream.of(Role.values()).map(Optional::of))
          .toList();

  @TempDir static Path folder = Path.of("");

  private static final AtomicReference<String> REACHED = new AtomicReference<>("");

  /// The numbers of the users of one test are its own, so that its rows of the audit are.
  private static int firstUid = 70_000;

  private static Daemon daemon;
  private static Api api;
  private static Path inner;

  @BeforeAll
  static void start() {
    daemon = Daemon.start(DaemonConfig.under(folder.resolve("state")));
    api = new Api(daemon, RoutesTest::staged);
    inner = folder.resolve("inner");
    api.serve(folder.resolve("outer"), inner, new Roles(Map.of(), Map.of()));
  }

  @BeforeEach
  void otherUsers() {
    firstUid += SENDERS.size();
  }

  @AfterAll
  static void stop() {
    api.close();
    daemon.close();
  }

  private static Route staged(Route route) {
    return route.with((request, response) -> {
      REACHED.set(route.method().text() + " " + route.path());
      response.send("{\"name\": \"" + Warden.match(request).name() + "\"}");
    });
  }

  static List<Route> routes() {
    return api.routes().all();
  }

  /// What is not the path, but could be taken for it by some reader.
  private static Map<String, String> spellings(String path) {
    int last = path.lastIndexOf('/');
    String before = path.substring(0, last);
    String end = path.substring(last + 1);
    Map<String, String> all = new LinkedHashMap<>();
    all.put("an escape", before + "/" + escaped(end.charAt(0)) + end.substring(1));
    all.put("an escape of a slash in capitals", before + "%2F" + end);
    all.put("a NUL", path + "\u0000");
    all.put("a control character", before + "/\u0001" + end);
    all.put("an escape twice", before + "/%25" + escaped(end.charAt(0)).substring(1) + "x");
    all.put("no escape", path + "%zz");
    all.put("an escaped slash", before + "%2f" + end);
    all.put("an escaped NUL", path + "%00");
    all.put("an escaped question mark", path + "%3fa=b");
    all.put("an escaped dot", before + "/%2e/" + end);
    all.put("two slashes first", "/" + path);
    all.put("two slashes", before + "//" + end);
    all.put("a slash at the end", path + "/");
    all.put("a dot", before + "/./" + end);
    all.put("a dot at the end", path + "/.");
    all.put("two dots", before + "/y/../" + end);
    all.put("two dots at the end", path + "/y/..");
    all.put("a parameter", path + ";a=b");
    all.put("a parameter in between", before + ";a=b/" + end);
    all.put("an empty parameter", path + ";");
    all.put("a backslash", before + "\\" + end);
    all.put("letters beyond ASCII", path + "é");
    all.put("a fragment", path + "#/../" + end);
    all.put("a host", "http://localhost" + path);
    all.put("too long", path + "/" + "a".repeat(Routes.MOST_PATH));
    all.put("a quote", path + "'");
    return all;
  }

  private static String escaped(char c) {
    return "%%%02x".formatted((int) c);
  }

  @ParameterizedTest
  @MethodSource("routes")
  void aRouteIsReachedByItsOneSpellingAndItsRolesAlone(Route route) throws Exception {
    String method = route.method().text();
    String path = route.path().replace(Route.NAME, NAME);
    List<String> expected = new ArrayList<>();
    for (Optional<Role> sender : SENDERS) {
      boolean may = sender.isPresent() && sender.get().compareTo(route.role()) >= 0;
      RawHttp.Answer answer = ask(sender, method, path, may);
      if (may) {
        assertThat(answer.status()).isEqualTo(200);
        assertThat(answer.json().path("name").asString())
            .isEqualTo(path.contains(NAME) ? NAME : "");
      } else {
        assertProblem(answer, Problem.API_ROLE);
      }
      if (route.audited() || !may) {
        expected.add(row(sender, method, path, may ? "ok" : Problem.API_ROLE.code()));
      }
      for (Map.Entry<String, String> other : spellings(path).entrySet()) {
        assertProblem(
            other.getKey(), ask(sender, method, other.getValue(), false), Problem.API_PATH);
        expected.add(row(sender, method, other.getValue(), Problem.API_PATH.code()));
      }
    }

    assertThat(audited(expected.size())).containsExactlyInAnyOrderElementsOf(expected);
  }

  @ParameterizedTest
  @MethodSource("routes")
  void anotherMethodIsRefusedWithThoseThatThereAre(Route route) throws Exception {
    String path = route.path().replace(Route.NAME, NAME);
    TreeSet<String> known = new TreeSet<>();
    routes().stream()
        .filter(other -> other.path().equals(route.path()))
        .forEach(other -> known.add(other.method().text()));
    for (String method : METHODS) {
      if (!known.contains(method)) {
        RawHttp.Answer answer = ask(Optional.of(Role.VIEWER), method, path, false);
        assertThat(answer.status()).as(method).isEqualTo(405);
        assertThat(answer.headers().getOrDefault("allow", "").split(", "))
            .as(method)
            .containsExactlyInAnyOrderElementsOf(known);
        assertThat(ask(Optional.empty(), method, path, false).status()).isEqualTo(403);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/",
        "/v1",
        "/v2/guests",
        "/V1/guests",
        "/v1/GUESTS",
        "/v1/guests/a/b",
        "/v1/guests/a/plan/b",
        "/v1/auditx",
        "/v1/rollouts/a",
        "/nowhere"
      })
  void whatIsNotThereIsUnknownToWhoeverHasARole(String path) throws Exception {
    for (String method : List.of("GET", "POST", "DELETE", "PUT")) {
      assertProblem(ask(Optional.of(Role.VIEWER), method, path, false), Problem.API_UNKNOWN);
      assertProblem(ask(Optional.empty(), method, path, false), Problem.API_ROLE);
    }
  }

  /// Headers by which other servers are told that a request is another one, or another's.
  @ParameterizedTest
  @ValueSource(
      strings = {
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Original-URL: /v1/audit",
        "X-Rewrite-URL: /v1/audit",
        "X-Forwarded-Prefix: /v1/audit",
        "Forwarded: host=localhost;for=root",
        "X-Forwarded-For: 127.0.0.1",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + "Sec-WebSocket-Version: 13",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"
      })
  void noHeaderMakesItAnotherRequest(String header) throws Exception {
    String end = " HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\nConnection: close\r\n";
    RawHttp viewer = as(Optional.of(Role.VIEWER));

    REACHED.set("");
    RawHttp.Answer read = viewer.send("GET /v1/guests/x1?_method=DELETE" + end + "\r\n");

    assertThat(read.status()).isEqualTo(200);
    assertThat(REACHED.get()).isEqualTo("GET /v1/guests/{name}");
    REACHED.set("");
    assertProblem(viewer.send("DELETE /v1/guests/x1" + end + "\r\n"), Problem.API_ROLE);
    assertThat(REACHED.get()).isEmpty();
  }

  @Test
  void noPathIsOfTwoRoutes() {
    Route named = Route.reading(Method.GET, "/v1/guests/{name}", Role.VIEWER, "", (_, _) -> {});
    for (String path : List.of("/v1/guests/plan", "/v1/{name}/x", "/v1/guests/{name}")) {
      Route other = Route.changing(Method.GET, path, Role.ADMIN, "", (_, _) -> {});
      assertThatThrownBy(() -> new Routes(List.of(named, other))).hasMessageContaining(path);
    }
  }

  /// A name can be that of a route, which is then still told from it by its place.
  @ParameterizedTest
  @ValueSource(strings = {"plan", "stop", "v1", "guests", "replacements", "log", "audit"})
  void aNameThatIsAlsoAWordOfTheTableIsAName(String name) throws Exception {
    RawHttp admin = as(Optional.of(Role.ADMIN));

    assertThat(admin.delete("/v1/guests/" + name).json().path("name").asString()).isEqualTo(name);
    assertThat(REACHED.get()).isEqualTo("DELETE /v1/guests/{name}");
    assertThat(admin.post("/v1/guests/" + name + "/plan", "{}").status()).isEqualTo(200);
    assertThat(REACHED.get()).isEqualTo("POST /v1/guests/{name}/plan");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a",
        "Web-1",
        "abcdefghijklmnopqrstuvwxyzabcdef",
        "qemu-10.0.2",
        "qemu-7.2.22-0a1b2c3d",
        "qemu-10.0.2+deb13u1~bpo12+1",
        "qemu-10.0.2+1_10.0.2+ds-2+deb13u1",
        "machine-6.12.95+qemu-10.0.2",
        "os-6.12.95~bpo12+trixie"
      })
  void everyNameIsCanonical(String name) {
    for (Route route : routes()) {
      String path = route.path().replace(Route.NAME, name);
      Routes.requireCanonical(path);
      assertThat(path.length()).isLessThan(Routes.MOST_PATH / 2);
    }
  }

  private static RawHttp as(Optional<Role> sender) {
    return new RawHttp(inner, new Caller(4711, uid(sender), sender, 0).header());
  }

  private static int uid(Optional<Role> sender) {
    return firstUid + SENDERS.indexOf(sender);
  }

  private static RawHttp.Answer ask(
      Optional<Role> sender, String method, String path, boolean reaches) throws IOException {
    REACHED.set("");
    RawHttp.Answer answer =
        as(sender).send(RawHttp.head(method, path) + "Content-Length: 2\r\n\r\n{}");
    assertThat(!String.valueOf(REACHED.get()).isEmpty()).as(method + " " + path).isEqualTo(reaches);
    return answer;
  }

  private static void assertProblem(RawHttp.Answer answer, Problem problem) {
    assertProblem("", answer, problem);
  }

  private static void assertProblem(String what, RawHttp.Answer answer, Problem problem) {
    assertThat(answer.type()).as(what + answer).isEqualTo("application/problem+json");
    assertThat(answer.json().path("code").asString()).as(what + answer).isEqualTo(problem.code());
    assertThat(answer.status()).as(what).isEqualTo(problem.httpStatus());
  }

  private static String row(Optional<Role> sender, String method, String path, String outcome) {
    String what = (method + " " + path).replaceAll("\\p{Cntrl}", "?").replace("é", "\ufffd\ufffd");
    String kept = what.length() > 300 ? what.substring(0, 300) + "…" : what;
    return uid(sender) + " " + kept + " " + outcome;
  }

  /// All rows of the test's users, once there are `count`: a row is written after its answer.
  private static List<String> audited(int count) {
    List<String> rows = List.of();
    long deadline = System.nanoTime() + PATIENCE_NANOS;
    while (rows.size() < count && System.nanoTime() < deadline) {
      rows =
          daemon.audit().read(Integer.MAX_VALUE).stream()
              .filter(row -> row.get("uid") instanceof Long uid && uid >= firstUid)
              .map(row -> row.get("uid") + " " + row.get("what") + " " + row.get("outcome"))
              .toList();
    }
    return rows;
  }
}
