package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.DaemonConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/// What `hyperfresh policy` asks of a daemon on a host whose QEMU was upgraded.
class PolicyCommandTest extends PolicyScene {
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
                {"to":"installed","guests":["web1"],"parallel":3,"canary":1,
                "soak_ms":120000,"max_blackout_ms":300,"within_ms":7200000}
                """),
            Output.JSON.readTree(
                """
                {"to":"installed","guests":["web2"],"parallel":3,"canary":0,
                "soak_ms":0,"max_blackout_ms":300,"within_ms":7200000}
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
    assertThat(names(asked(ROLLOUT).getFirst())).containsExactly("web1");
    assertThat(apply("action: replace\n").err()).contains("HF-POLICY-002");
  }

  private void forged(int pid, String name, String... like) throws IOException {
    List<String> arguments = new ArrayList<>(List.of("-name", "guest=" + name));
    arguments.addAll(List.of(like));
    host.process(pid, root.resolve("copy/qemu-system-x86_64"), arguments.toArray(String[]::new));
  }

  @Test
  void aGuestOfWhichNothingCanBeReadIsReported() throws Exception {
    daemon.answering("GET /v1/guests", guests("web1", "web2", "db1", "far"));
    moved("far");
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 committed", "web2 committed", "db1 committed")));

    Said said = apply("action: replace\n");

    assertThat(said.exit()).as(said.err()).isEqualTo(3);
    assertThat(said.out())
        .contains("guest=far action=replace outcome=unknown", "cannot be read what they run: 1;");
    assertThat(asked(ROLLOUT).stream().flatMap(order -> names(order).stream()))
        .containsExactly("web1", "web2", "db1");
    assertThat(apply("action: replace\nexcept: [far]\n").exit()).isZero();
  }

  /// It would keep nobody from being moved.
  @Test
  void anExceptionThatIsNoGuestIsNamedAndMovesNobody() throws Exception {
    Path next = root.resolve("next");

    assertThat(apply("except: [db1, db-1]\n").out())
        .contains("Exceptions that no guest is called: db-1; ");
    Said refused =
        apply("action: replace\nexcept: [db1, db-1, a]\n" + WINDOW, "--next", next.toString());
    assertThat(refused.exit()).isEqualTo(2);
    assertThat(refused.err()).contains("HF-POLICY-001", "except: no guest is called a, db-1. ");
    assertThat(next).exists();
    assertThat(asked(ROLLOUT)).isEmpty();

    String[] where = {file.toString(), "--state", state.toString()};
    assertThat(Said.by("policy", "show", where[0], where[1], where[2]).out())
        .contains("Exceptions that no guest is called: a, db-1; ");
    assertThat(
            Output.JSON
                .readTree(Said.by("policy", "show", where[0], where[1], where[2], "--json").out())
                .path("unknown_exceptions")
                .size())
        .isEqualTo(2);
    daemon.answering("GET /v1/guests", guests("web1", "web2", "db1", "db-1", "a"));
    assertThat(apply("except: [db1, db-1, a]\n").out()).doesNotContain("no guest is called");
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
