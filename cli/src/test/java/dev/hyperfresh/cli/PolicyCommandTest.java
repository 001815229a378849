package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

/// What `hyperfresh policy` asks of a daemon on a host whose QEMU was upgraded.
@Timeout(60)
class PolicyCommandTest {
  private static final String ROLLOUT = "POST /v1/rollouts";
  private static final Instant SATURDAY = Instant.parse("2026-11-07T03:00:00Z");
  private static final String WINDOW = "window: Sat 02:00-05:00\n";

  @TempDir Path root;
  @TempDir Path state;
  private QemuHost host;
  private FakeDaemon daemon;
  private Path file;
  private Instant now = SATURDAY;
  private InstantSource clock = () -> now;

  @BeforeEach
  void upgrade() throws IOException {
    host = new QemuHost(root, state);
    host.program("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
    Path copy = root.resolve("copy/qemu-system-x86_64");
    QemuHost.copy(QemuHost.OLD, copy);
    host.release("7.2.21", copy, List.of(), "Debian package qemu-system-x86 1:7.2+dfsg-7+deb12u17");
    for (int pid = 1; pid <= 3; pid++) {
      host.process(pid, copy, "-name", "guest=any");
    }
    file = root.resolve("policy.yaml");
    daemon = new FakeDaemon(state);
    daemon.answering("GET /v1/guests", guests("web1", "web2", "db1"));
    daemon.answering("GET /v1/machines", "{\"machines\":[]}");
    daemon.answering("GET /v1/os", "{\"os\":[]}");
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  private static String guests(String... names) {
    List<String> guests = new ArrayList<>();
    for (String name : names) {
      guests.add(
          "{\"name\":\"%s\",\"pid\":%d,\"state\":\"running\",\"kind\":\"process\",\"release\":\"qemu-7.2.21\"}"
              .formatted(name, guests.size() + 1));
    }
    return "{\"guests\":[" + String.join(",", guests) + "]}";
  }

  private static String rollout(String stopped, String... outcomes) {
    List<String> entries = new ArrayList<>();
    for (String outcome : outcomes) {
      String[] words = outcome.split(" ", 2);
      entries.add(
          """
          {"guest":"%s","from":"qemu-7.2.21","outcome":"%s","problem":"","detail":"",
          "replacement":{"blackout_ms":12.5}}\
          """
              .formatted(words[0], words[1])
              .replace("\n", ""));
    }
    return "{\"to\":\"qemu-7.2.22+deb12u18\",\"stopped\":\"%s\",\"misses\":[],\"guests\":[%s]}"
        .formatted(stopped, String.join(",", entries));
  }

  private static String result(String rollout) {
    return "{\"result\":" + rollout + "}\n";
  }

  private Said apply(String policy, String... arguments) {
    write(policy);
    List<String> all = new ArrayList<>(List.of(file.toString(), "--state", state.toString()));
    all.addAll(List.of(arguments));
    CommandLine line = line();
    return Said.of(() -> line.execute(all.toArray(String[]::new)));
  }

  private CommandLine line() {
    CommandLine line = new CommandLine(new PolicyCommand.Apply(root, clock, ZoneOffset.UTC));
    line.setExecutionExceptionHandler(Main::report);
    return line;
  }

  private void write(String policy) {
    try {
      Files.writeString(file, policy);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// What was asked of that route, in order.
  private List<JsonNode> asked(String route) {
    return daemon.requests.stream()
        .filter(request -> request.startsWith(route + "\n"))
        .map(request -> Output.JSON.readTree(request.substring(route.length() + 1)))
        .toList();
  }

  @Test
  void aReportNamesEachAndMovesNone() throws Exception {
    Said said = apply("except: [db1]\n");

    assertThat(said.exit()).as(said.err()).isEqualTo(8);
    assertThat(said.out().lines())
        .containsExactly(
            "guest=web1 action=report outcome=outdated from=qemu-7.2.21 to=installed",
            "guest=web2 action=report outcome=outdated from=qemu-7.2.21 to=installed",
            "guest=db1 action=report outcome=except from=qemu-7.2.21 to=installed",
            "Guests that run an older QEMU: 2. The policy only reports them.");
    assertThat(asked(ROLLOUT)).isEmpty();
  }

  @Test
  void nothingIsToBeDoneWhenAllRunWhatIsInstalled() throws Exception {
    host.program("7.2.21 (Debian 1:7.2+dfsg-7+deb12u17)");

    assertThat(apply("action: replace\n"))
        .isEqualTo(new Said(0, "No guest is to be moved." + System.lineSeparator(), ""));
  }

  @Test
  void aDryRunOnlyPlans() throws Exception {
    daemon.answering(
        "POST /v1/rollouts/plan", rollout("", "web1 movable", "web2 left-alone", "db1 movable"));

    Said said = apply("action: replace\n", "--dry-run");

    assertThat(said.exit()).isEqualTo(5);
    assertThat(said.out())
        .contains("guest=web2 action=dry-run outcome=left-alone", "cannot move: 1.");
    assertThat(asked(ROLLOUT)).isEmpty();
    daemon.answering(
        "POST /v1/rollouts/plan", rollout("", "web1 movable", "web2 movable", "db1 movable"));
    assertThat(apply("action: dry-run\n").exit()).isZero();
  }

  @Test
  void guestsMoveAsThePolicySays() throws Exception {
    daemon.answering(ROLLOUT, result(rollout("", "web1 committed", "web2 committed")));

    Said said =
        apply(
            "action: replace\ncanary: 1\nsoak: 2m\nparallel: 3\nblackout: 300ms\nexcept: [db1]\n"
                + WINDOW);

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out())
        .contains(
            "guest=web1 action=replace outcome=committed from=qemu-7.2.21 to=qemu-7.2.22+deb12u18"
                + " stood_ms=12.50",
            "Guests moved: 2.");
    assertThat(asked(ROLLOUT))
        .containsExactly(
            Output.JSON.readTree(
                """
                {"to":"installed","guests":["web1","web2"],"parallel":3,"canary":1,
                "soak_ms":120000,"max_blackout_ms":300,"within_ms":7200000}
                """));
  }

  @Test
  void outsideTheWindowTheyWaitAndTheTimeIsWrittenDown() throws Exception {
    now = Instant.parse("2026-11-02T10:00:00Z");
    Path next = root.resolve("next");

    Said said = apply("action: replace\n" + WINDOW, "--next", next.toString());

    assertThat(said.exit()).isEqualTo(8);
    assertThat(said.out())
        .contains("Guests that wait for the window: 3.", "opens Sat 2026-11-07 02:00 Z");
    assertThat(asked(ROLLOUT)).isEmpty();
    assertThat(Files.readString(next).strip())
        .isEqualTo(Long.toString(Instant.parse("2026-11-07T02:00:00Z").getEpochSecond()));
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 committed", "web2 committed", "db1 committed")));
    assertThat(apply("action: replace\n" + WINDOW, "--now").exit()).isZero();
    assertThat(asked(ROLLOUT).getFirst().has("within_ms")).isFalse();
  }

  @Test
  void afterAFailureNoLaterRunMovesAGuestToThatBuild() throws Exception {
    daemon.answering(
        ROLLOUT,
        result(rollout("Guest web1: rolled-back.", "web1 rolled-back", "web2 not-started")));
    String policy = "action: replace\nexcept: [db1]\n";

    Said failed = apply(policy);
    assertThat(failed.exit()).isEqualTo(5);
    assertThat(failed.out())
        .contains("outcome=rolled-back", "outcome=not-started", "Guest web1: rolled-back.");
    Path next = root.resolve("next");
    Said held = apply(policy, "--next", next.toString());
    assertThat(held.exit()).isEqualTo(5);
    assertThat(held.err())
        .contains(Problem.POLICY_HELD.code(), "Guest web1: rolled-back.", "--again");
    assertThat(next).exists();
    assertThat(asked(ROLLOUT)).hasSize(1);

    // Another build is another matter.
    host.program("7.2.23 (Debian 1:7.2+dfsg-7+deb12u19)");
    daemon.answering(ROLLOUT, result(rollout("", "web1 committed", "web2 committed")));
    assertThat(apply(policy).exit()).isZero();
    assertThat(apply(policy, "--again").exit()).isZero();
  }

  @Test
  void whoeverLooksMayTryAgain() throws Exception {
    daemon.answering(ROLLOUT, result(rollout("Guest web1: failed.", "web1 failed")));
    assertThat(apply("action: replace\n").exit()).isEqualTo(5);
    assertThat(apply("action: replace\n").err()).contains("HF-POLICY-002");

    daemon.answering(ROLLOUT, result(rollout("", "web1 committed", "web2 committed")));
    assertThat(apply("action: replace\n", "--again").exit()).isZero();
    assertThat(apply("action: replace\n").exit()).isZero();
  }

  /// The daemon does not stop at a guest that ended when it had moved.
  @Test
  void aGuestThatIsLostAfterItsMoveIsTheFailure() throws Exception {
    daemon.answering(ROLLOUT, result(rollout("", "web1 failed", "web2 committed")));

    Said failed = apply("action: replace\n");

    assertThat(failed.exit()).isEqualTo(5);
    assertThat(failed.out()).contains("It stopped: Guest web1: failed.");
    assertThat(apply("action: replace\n").err()).contains("HF-POLICY-002", "Guest web1: failed.");
  }

  @Test
  void aDamagedFileHoldsUntilSomebodyHasLooked() throws Exception {
    Files.writeString(state.resolve("policy-stopped.json"), "{");
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 committed", "web2 committed", "db1 committed")));

    Said held = apply("action: replace\n");
    assertThat(held.err()).contains(Problem.DAEMON_STATE.code(), "--again");
    assertThat(asked(ROLLOUT)).isEmpty();
    assertThat(apply("action: replace\n", "--again").exit()).isZero();
    assertThat(PolicyStop.read(state)).isEmpty();
  }

  /// The next daemon takes a while to find out which hypervisor has a guest.
  @Test
  void aGuestThatIsBeingTakenBackIsWaitedFor() throws Exception {
    now = Instant.now();
    daemon.answering(
        ROLLOUT,
        "{\"problem\":{\"code\":\"%s\",\"detail\":\"It gives way.\",\"status\":503}}\n"
            .formatted(Problem.DAEMON_UPGRADING.code()));
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply("action: replace\nexcept: [web2, db1]\n"));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    String running = guests("web1");
    daemon.answering("GET /v1/guests", running.replace("running", "recovering"));
    Thread.sleep(1500);
    daemon.answering(
        "GET /v1/history?guest=web1",
        "{\"replacements\":[{\"started_at\":\"%s\",\"outcome\":\"rolled-back\",\"to\":\"b\"}]}"
            .formatted(now.plusSeconds(1)));
    daemon.answering("GET /v1/guests", running);

    Said said = run.get();
    assertThat(said.exit()).as(said.err()).isEqualTo(5);
    assertThat(asked(ROLLOUT)).hasSize(1);
    assertThat(PolicyStop.read(state).orElseThrow().why()).isEqualTo("Guest web1: rolled-back.");
  }

  /// The daemon that takes over is asked for what is left, and the history for what was under way.
  @Test
  void anUpgradeOfTheDaemonMeanwhileIsFollowed() throws Exception {
    now = Instant.now();
    daemon.answering(
        ROLLOUT,
        result(rollout("A newer daemon takes over.", "web1 committed", "web2 not-started")));
    for (String name : List.of("web1", "web2")) {
      daemon.answering("GET /v1/history?guest=" + name, "{\"replacements\":[]}");
    }
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply("action: replace\nexcept: [db1]\n", "--json"));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    daemon.answering("GET /v1/guests", guests("web2"));
    daemon.answering(
        "GET /v1/history?guest=web1",
        "{\"replacements\":[{\"started_at\":\"%s\",\"outcome\":\"committed\",\"to\":\"b\"}]}"
            .formatted(now.plusSeconds(1)));
    daemon.answering(ROLLOUT, result(rollout("", "web2 committed")));

    Said said = run.get();
    assertThat(said.exit()).as(said.err()).isZero();
    JsonNode json = Output.JSON.readTree(said.out());
    assertThat(json.path("outcome").asString()).isEqualTo("moved");
    assertThat(json.propertyNames()).containsExactlyElementsOf(JsonPageTest.APPLIED_FIELDS);
    assertThat(
            json.path("guests")
                .valueStream()
                .map(guest ->
                    guest.path("guest").asString() + " " + guest.path("outcome").asString()))
        .contains("web1 committed", "web2 committed");
    assertThat(asked(ROLLOUT).getLast().path("guests").valueStream().map(JsonNode::asString))
        .containsExactly("web2");
  }

  @Test
  void aFaultyPolicyIsBadInputAndIsNotTriedAgainSoon() throws Exception {
    Path next = root.resolve("next");

    Said said = apply("actoin: replace\n", "--next", next.toString());

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.err()).contains("HF-POLICY-001", "'actoin'");
    assertThat(Long.parseLong(Files.readString(next).strip()))
        .isEqualTo(now.getEpochSecond() + 86_400);
    assertThat(daemon.requests).isEmpty();
  }

  /// What processes say of themselves is no reason to move anything.
  @Test
  void withoutADaemonNothingIsDone() throws Exception {
    daemon.close();
    Files.deleteIfExists(DaemonConfig.socket(state));

    assertThat(apply("action: replace\n").exit()).isEqualTo(7);
    daemon = new FakeDaemon(state).answering("GET /v1/guests", guests());
    daemon.answering("GET /v1/machines", "{\"machines\":[]}");
    daemon.answering("GET /v1/os", "{\"os\":[]}");
    assertThat(apply("action: replace\n").out()).contains("No guest is to be moved.");
  }

  /// Any user may start a process that looks like one of ours.
  @Test
  void aForgedProcessIsNoGuest() throws Exception {
    String[] forged = {
      "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
      "-chardev",
      "socket,id=qmp,fd=3",
      "-mon",
      "chardev=qmp,mode=control"
    };
    forged(4, "web1", forged);
    forged(5, "none", forged);
    daemon.answering(ROLLOUT, result(rollout("Guest web1: failed.", "web1 failed")));

    Said failed = apply("action: replace\nexcept: [db1]\n");

    assertThat(failed.exit()).as(failed.err()).isEqualTo(5);
    assertThat(failed.out()).contains("Outdated QEMUs that the policy does not move: 2;");
    assertThat(names(asked(ROLLOUT).getFirst())).containsExactly("web1", "web2");
    assertThat(apply("action: replace\n").err()).contains("HF-POLICY-002");
  }

  private void forged(int pid, String name, String... like) throws IOException {
    List<String> arguments = new ArrayList<>(List.of("-name", "guest=" + name));
    arguments.addAll(List.of(like));
    host.process(pid, root.resolve("copy/qemu-system-x86_64"), arguments.toArray(String[]::new));
  }

  private static List<String> names(JsonNode order) {
    return order.path("guests").valueStream().map(JsonNode::asString).toList();
  }

  /// A client that is ended leaves no word of how it went, and the daemon goes on.
  @Test
  void aRunThatIsCutOffHoldsTheNextOne() throws Exception {
    daemon.holding(ROLLOUT);
    write("action: replace\n");
    String[] arguments = {file.toString(), "--state", state.toString()};
    Thread cutOff = Thread.ofPlatform().daemon().start(() -> line().execute(arguments));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    assertThat(PolicyStop.read(state).orElseThrow().why()).contains("has not ended");

    Said second = apply("action: replace\n");
    assertThat(second.exit()).as(second.err()).isEqualTo(3);
    assertThat(second.err()).contains("HF-POLICY-003");
    assertThat(apply("action: report\n").exit()).isEqualTo(8);
    assertThat(asked(ROLLOUT)).hasSize(1);
    cutOff.interrupt();
    daemon.close();
    cutOff.join();
  }

  @Test
  void nothingMovesWhereAFailureCannotBeWrittenDown() throws Exception {
    Files.createDirectories(state.resolve("policy-stopped.json.new/x"));

    Said said = apply("action: replace\n");

    assertThat(said.err()).contains(Problem.DAEMON_STATE.code());
    assertThat(asked(ROLLOUT)).isEmpty();
  }

  /// What the daemon refuses changed nothing, and an earlier failure is not forgotten by it.
  @Test
  void aRefusalHoldsNothing() throws Exception {
    assertThat(apply("action: replace\n").err()).contains("HF-GUEST-002");
    assertThat(PolicyStop.read(state)).isEmpty();
    PolicyStop stop = new PolicyStop(SATURDAY, List.of("x"), "Guest web1: failed.");
    stop.keep(state);
    assertThat(apply("action: replace\n", "--again").err()).contains("HF-GUEST-002");
    assertThat(PolicyStop.read(state)).contains(stop);
  }

  @Test
  void aGuestOfWhichNothingCanBeReadIsReported() throws Exception {
    daemon.answering("GET /v1/guests", guests("web1", "web2", "db1", "far"));
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 committed", "web2 committed", "db1 committed")));

    Said said = apply("action: replace\n");

    assertThat(said.exit()).as(said.err()).isEqualTo(3);
    assertThat(said.out())
        .contains("guest=far action=replace outcome=unknown", "cannot be read what they run: 1;");
    assertThat(names(asked(ROLLOUT).getFirst())).containsExactly("web1", "web2", "db1");
    assertThat(apply("action: replace\nexcept: [far]\n").exit()).isZero();
  }

  /// The takeover is slower than the end of the guest that is left.
  @Test
  void aGuestThatEndsWhileTheDaemonGivesWayIsNotWaitedFor() throws Exception {
    daemon.answering(
        ROLLOUT,
        "{\"problem\":{\"code\":\"%s\",\"detail\":\"A newer daemon takes over.\",\"status\":503}}\n"
            .formatted(Problem.DAEMON_UPGRADING.code()));
    for (String name : List.of("web1", "web2")) {
      daemon.answering("GET /v1/history?guest=" + name, "{\"replacements\":[]}");
    }
    Path next = root.resolve("next");
    String policy = "action: replace\nexcept: [db1]\n";
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply(policy, "--json", "--next", next.toString()));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    daemon.answering("GET /v1/guests", guests());
    daemon.answering(ROLLOUT, result(rollout("")));
    Files.writeString(next.resolveSibling("qemu.changed"), "");

    Said said = run.get();
    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out()).contains("\"gone\"");
    assertThat(asked(ROLLOUT)).hasSize(1);
    assertThat(PolicyStop.read(state)).isEmpty();
    // The hook of apt came meanwhile, and started nothing.
    assertThat(next).doesNotExist();
    Files.writeString(file, policy);
    String[] again = {file.toString(), "--state", state.toString(), "--next", next.toString()};
    assertThat(Said.of(() -> line().execute(again)).exit()).isZero();
    assertThat(next).exists();
  }

  /// A window that closes before all have moved is no failure.
  @Test
  void aWindowThatClosesHoldsNothing() throws Exception {
    daemon.answering(
        ROLLOUT, result(rollout("The time is over.", "web1 committed", "web2 not-started")));
    InstantSource late = InstantSource.fixed(SATURDAY.plusSeconds(7200));
    clock = () -> asked(ROLLOUT).isEmpty() ? SATURDAY : late.instant();

    assertThat(apply("action: replace\nexcept: [db1]\n" + WINDOW).exit()).isEqualTo(8);
    assertThat(PolicyStop.read(state)).isEmpty();
  }

  @Test
  void theFileIsCheckedAndShown() throws Exception {
    Files.writeString(file, "action: replace\n" + WINDOW);
    String[] where = {file.toString(), "--state", state.toString()};

    assertThat(Said.by("policy", "check", where[0]).out()).contains("is valid.");
    Said shown = Said.by("policy", "show", where[0], where[1], where[2]);
    assertThat(shown.out())
        .contains("action", "replace", "Sat 02:00-05:00", "Guests may begin to move from Sat ");
    JsonNode json =
        Output.JSON.readTree(
            Said.by("policy", "show", where[0], where[1], where[2], "--json").out());
    assertThat(json.path("settings").path("soak").asString()).isEqualTo("5m");
    Files.writeString(file, "canary: x\n");
    assertThat(Said.by("policy", "check", where[0]).exit()).isEqualTo(2);
  }
}
