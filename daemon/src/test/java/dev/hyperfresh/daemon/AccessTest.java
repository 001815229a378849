package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Unprivileged;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// Processes of other users of this host try the socket of a real daemon. They are Perl programs,
/// because every Debian has Perl.
@Timeout(60)
class AccessTest {
  private static final int VIEWER = 64001;
  private static final int OPERATORS = 64002;
  private static final int ADMIN = 64003;
  private static final int STRANGER = 64009;

  private static final String CLIENT =
      """
      use IO::Socket::UNIX;
      my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no connection: $!\\n";
      my $request = $ARGV[1];
      $request =~ s/\\\\x([0-9a-f]{2})/chr(hex($1))/ge;
      syswrite($s, $request);
      $s->shutdown(1);
      local $/; print <$s>;
      """;

  /// Opens many connections, then asks over each of them.
  private static final String CROWD =
      """
      use IO::Socket::UNIX;
      $SIG{PIPE} = 'IGNORE';
      my @all = map { IO::Socket::UNIX->new(Peer => $ARGV[0]) } 1..$ARGV[2];
      my $answers = 0;
      for my $s (@all) {
        syswrite($s, $ARGV[1]);
        my $got = sysread($s, my $answer, 10);
        $answers++ if defined $got && $got > 0;
      }
      print $answers;
      """;

  @TempDir static Path folder = Path.of("");

  private static Daemon daemon;
  private static RawHttp root;

  @BeforeAll
  static void start() throws Exception {
    if (Unprivileged.obstacle().isPresent()) {
      System.out.println("skipped: " + Unprivileged.obstacle().get());
      Assumptions.abort();
    }
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwx--x--x"));
    Path state = Files.createDirectory(folder.resolve("state"));
    Files.writeString(
        state.resolve("roles"),
        "viewer user %d\noperator group %d\nadmin user %d\n".formatted(VIEWER, OPERATORS, ADMIN));
    daemon = Daemon.start(DaemonConfig.under(state));
    root = new RawHttp(daemon.config().socket());
  }

  @AfterAll
  static void stop() {
    if (daemon != null) {
      daemon.close();
    }
  }

  @ParameterizedTest
  @CsvSource({
    // user, group, method, path, status
    "64001,64001,GET,/v1/guests,200",
    "64001,64001,POST,/v1/guests/nobody/plan,200",
    "64001,64001,POST,/v1/guests/nobody/stop,403",
    "64001,64001,POST,/v1/guests/nobody/replacements,403",
    "64001,64001,POST,/v1/guests,403",
    "64001,64001,DELETE,/v1/guests/nobody,403",
    "64001,64001,POST,/v1/releases,403",
    "64001,64001,DELETE,/v1/releases/qemu-7.2.22,403",
    "64001,64001,GET,/v1/audit,403",
    "64005,64002,GET,/v1/history,200",
    "64005,64002,POST,/v1/guests/nobody/stop,200",
    "64005,64002,POST,/v1/guests/nobody/replacements,200",
    "64005,64002,DELETE,/v1/guests/nobody,403",
    "64005,64002,POST,/v1/guests,403",
    "64005,64002,GET,/v1/audit,403",
    "64001,64001,GET,/v1/machines,200",
    "64001,64001,POST,/v1/machines/none/replacements,403",
    "64005,64002,POST,/v1/machines/none/replacements,200",
    "64005,64002,POST,/v1/machines,403",
    "64005,64002,DELETE,/v1/machines/none,403",
    "64003,64003,DELETE,/v1/machines/none,404",
    "64003,64003,DELETE,/v1/guests/nobody,404",
    "64003,64003,GET,/v1/audit,200",
    "64009,64009,GET,/v1/guests,403",
    "64009,64009,POST,/v1/guests/nobody/plan,403",
    "64009,64009,GET,/nowhere,403"
  })
  void eachRoleMayDoWhatItIsFor(int uid, int group, String method, String path, int status)
      throws Exception {
    String answer = as(uid, group, CLIENT, request(method, path));

    assertThat(answer).as(answer).startsWith("HTTP/1.1 " + status + " ");
    if (status == 403) {
      assertThat(answer).contains("HF-API-002", "User " + uid + " has", "this needs the role ");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "GET,/v1/containers/x/%6cog",
    "GET,/v1//containers/x/log",
    "GET,/v1/./containers/x/log",
    "GET,/v1/containers/x/log;a=b",
    "GET,/v1/containers;a=b/x/log",
    "DELETE,/v1/guests/./plan",
    "DELETE,/v1/guests/;/plan"
  })
  void whatIsSpelledOtherwiseIsRefusedWhole(String method, String path) throws Exception {
    String answer = as(VIEWER, VIEWER, CLIENT, request(method, path));

    assertThat(answer).startsWith("HTTP/1.1 400 ").contains("HF-API-003");
    List<JsonNode> actions =
        root.get("/v1/audit?limit=9").json().path("actions").valueStream().toList();
    assertThat(find(actions, method + " " + path).path("uid").asInt()).isEqualTo(VIEWER);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/v1/%61udit",
        "/v1//audit",
        "/v1/./audit",
        "/v1/guests/../audit",
        "/v1/guests/%2e%2e/audit",
        "/v1/audit;a=b",
        "/v1;a=b/audit",
        "/v1/audit/",
        "/V1/AUDIT",
        "//v1/audit",
        "/v1/audit%3flimit=5",
        "/v1/audit%00",
        "http://localhost/v1/audit"
      })
  void theAuditIsNotReadByAnotherSpelling(String path) throws Exception {
    String answer = as(VIEWER, VIEWER, CLIENT, request("GET", path));

    assertThat(answer).doesNotContain("\"actions\"").doesNotContain("HTTP/1.1 200");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/v1/guests/x/plan/../../web1",
        "/v1/guests/web1%2fplan",
        "/v1/guests/web1;/plan",
        "/v1/guests/%2e%2e/guests/web1"
      })
  void noSpellingGetsAViewerToDelete(String path) throws Exception {
    assertThat(as(VIEWER, VIEWER, CLIENT, request("DELETE", path)))
        .startsWith("HTTP/1.1 4")
        .doesNotContain("HF-GUEST-002");
  }

  @Test
  void aClientCannotSayWhoItIs() throws Exception {
    StringBuilder forged = new StringBuilder();
    for (byte b : new Caller(1, 0, java.util.Optional.of(Role.ADMIN), 0).header()) {
      forged.append("\\x%02x".formatted(b));
    }
    for (String header : List.of(forged.toString(), "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n")) {
      assertThat(as(VIEWER, VIEWER, CLIENT, header + request("DELETE", "/v1/guests/nobody")))
          .doesNotContain("HF-GUEST-002")
          .doesNotContain("HTTP/1.1 200");
    }
    // A second request on the connection is the same user's.
    String kept = "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assertThat(as(VIEWER, VIEWER, CLIENT, kept + request("DELETE", "/v1/guests/nobody")))
        .contains("HTTP/1.1 200", "HTTP/1.1 403");
  }

  @Test
  void theServerBehindTheSocketIsOutOfReach() throws Exception {
    Path inner = daemon.config().state().resolve("run/api");
    assertThat(Files.exists(inner)).isTrue();

    assertThat(run(VIEWER, VIEWER, CLIENT, inner.toString(), request("GET", "/v1/guests")))
        .contains("no connection: Permission denied");
  }

  @Test
  void aStrangerHoldsFewConnectionsAndKeepsNobodyOut() throws Exception {
    String request = "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\n\r\n";

    int answers = Integer.parseInt(as(STRANGER, STRANGER, CROWD, request, "50"));

    assertThat(answers).isBetween(1, 8);
    assertThat(root.get("/v1/guests").status()).isEqualTo(200);
    assertThat(as(VIEWER, VIEWER, CLIENT, request("GET", "/v1/guests"))).contains(" 200 ");
  }

  @Test
  void aUserHolds128Connections() throws Exception {
    String request = "GET /v1/guests HTTP/1.1\r\nHost: localhost\r\n\r\n";

    int answers = Integer.parseInt(as(VIEWER, VIEWER, CROWD, request, "140"));

    assertThat(answers).isBetween(100, 128);
    assertThat(root.get("/v1/guests").status()).isEqualTo(200);
  }

  @Test
  void whatChangedOrWasRefusedIsInTheAudit() throws Exception {
    var _ = as(VIEWER, VIEWER, CLIENT, request("DELETE", "/v1/guests/refused-one"));
    var _ = root.post("/v1/guests/asked-one/stop", "{}");
    var _ = root.delete("/v1/releases/gone-one");
    var _ = root.post("/v1/guests", "{\"document\": \"name: 1\", \"base\": \"/\"}");
    var _ = root.get("/v1/guests/read-one");

    List<JsonNode> actions =
        root.get("/v1/audit?limit=1000").json().path("actions").valueStream().toList();

    JsonNode refused = find(actions, "DELETE /v1/guests/refused-one");
    assertThat(refused.path("uid").asInt()).isEqualTo(VIEWER);
    assertThat(refused.path("role").asString()).isEqualTo("viewer");
    assertThat(refused.path("outcome").asString()).isEqualTo("HF-API-002");
    assertThat(refused.path("pid").asInt()).isPositive();
    JsonNode asked = find(actions, "POST /v1/guests/asked-one/stop");
    assertThat(asked.path("user").asString()).isEqualTo("root");
    assertThat(asked.path("role").asString()).isEqualTo("admin");
    assertThat(asked.path("object").asString()).isEqualTo("asked-one");
    assertThat(asked.path("outcome").asString()).isEqualTo("HF-GUEST-002");
    assertThat(asked.path("duration_ms").asDouble()).isPositive();
    assertThat(find(actions, "DELETE /v1/releases/gone-one").path("outcome").asString())
        .isEqualTo("HF-RELEASE-001");
    assertThat(find(actions, "POST /v1/guests").path("outcome").asString()).startsWith("HF-");
    assertThat(actions).noneMatch(row -> row.path("what").asString().contains("read-one"));
  }

  @Test
  void withoutAFileOfRolesTheSocketIsClosed() throws Exception {
    Path state = folder.resolve("closed");
    try (Daemon other = Daemon.start(DaemonConfig.under(state))) {
      Path socket = other.config().socket();
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
          .isEqualTo("rw-------");
      assertThat(run(VIEWER, VIEWER, CLIENT, socket.toString(), request("GET", "/v1/guests")))
          .contains("no connection: Permission denied");
      assertThat(new RawHttp(socket).get("/v1/guests").status()).isEqualTo(200);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"journal.log", "history.db", "daemon.lock", "run", "guests"})
  void whatLiesBesideTheSocketIsClosed(String name) throws Exception {
    Path path = daemon.config().state().resolve(name);

    String said =
        run(
            ADMIN,
            ADMIN,
            "opendir(D, $ARGV[0]) or open(D, $ARGV[0]) or print \"$!\"",
            path.toString());

    assertThat(said).isIn("Permission denied", "No such file or directory");
  }

  private static JsonNode find(List<JsonNode> actions, String what) {
    return actions.stream()
        .filter(row -> row.path("what").asString().equals(what))
        .findFirst()
        .orElseThrow();
  }

  private static String request(String method, String path) {
    String order = path.endsWith("/stop") ? "{}" : "{\"to\": \"none\"}";
    String body = method.equals("POST") ? order : "";
    return RawHttp.head(method, path) + "Content-Length: " + body.length() + "\r\n\r\n" + body;
  }

  private static String as(int uid, int group, String program, String... arguments)
      throws Exception {
    List<String> all = new ArrayList<>();
    all.add(daemon.config().socket().toString());
    all.addAll(List.of(arguments));
    return run(uid, group, program, all.toArray(String[]::new));
  }

  private static String run(int uid, int group, String program, String... arguments)
      throws Exception {
    List<String> command =
        Stream.concat(
                Stream.of(
                    "setpriv",
                    "--reuid=" + uid,
                    "--regid=" + uid,
                    "--groups=" + group,
                    "--inh-caps=-all",
                    "--no-new-privs",
                    "perl",
                    "-e",
                    program),
                Stream.of(arguments))
            .toList();
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return said;
  }
}
