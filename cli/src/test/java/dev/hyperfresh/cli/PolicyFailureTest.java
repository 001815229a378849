package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.InstantSource;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// When a run of the policy is cut off, fails or waits, and what the next one does then.
class PolicyFailureTest extends PolicyScene {
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
    moved("web1", "a committed");
    daemon.answering(
        ROLLOUT,
        "{\"problem\":{\"code\":\"%s\",\"detail\":\"It gives way.\",\"status\":503}}\n"
            .formatted(Problem.DAEMON_UPGRADING.code()));
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply("action: replace\nexcept: [web2, db1]\n"));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    String running = guests("web1", "web2", "db1");
    daemon.answering("GET /v1/guests", running.replace("running", "recovering"));
    Thread.sleep(1500);
    moved("web1", "b rolled-back", "a committed");
    daemon.answering("GET /v1/guests", running);

    Said said = run.get();
    assertThat(said.exit()).as(said.err()).isEqualTo(5);
    assertThat(asked(ROLLOUT)).hasSize(1);
    assertThat(PolicyStop.read(state).orElseThrow().why()).isEqualTo("Guest web1: rolled-back.");
  }

  /// The daemon that takes over is asked for what is left, and the history for what was under way.
  @Test
  void anUpgradeOfTheDaemonMeanwhileIsFollowed() throws Exception {
    daemon.answering(
        ROLLOUT,
        result(rollout("A newer daemon takes over.", "web1 committed", "web2 not-started")));
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply("action: replace\nexcept: [db1]\n", "--json"));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    daemon.answering("GET /v1/guests", guests("web2"));
    moved("web1", "b committed");
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

  /// An administrator sees the first one suffer, and saves another.
  @Test
  void anExceptionThatIsAddedWhileTheFirstAreWatchedHoldsForTheOthers() throws Exception {
    daemon.answering(ROLLOUT, result(rollout("", "web1 committed", "db1 committed")));
    daemon.meanwhile(ROLLOUT, () -> write("action: replace\nparallel: 4\nexcept: [web2]\n"));

    Said said = apply("action: replace\n");

    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out()).contains("guest=web2 action=replace outcome=except");
    assertThat(asked(ROLLOUT).stream().map(PolicyScene::names))
        .containsExactly(List.of("web1"), List.of("db1"));
    assertThat(asked(ROLLOUT).getLast().path("parallel").asInt()).isEqualTo(4);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"action: report\n", "actoin: replace\n", "action: replace\nexcept: [ghost]\n"})
  void aPolicyThatMovesNobodyAnyMoreStopsTheRun(String changed) throws Exception {
    daemon.answering(ROLLOUT, result(rollout("", "web1 committed")));
    daemon.meanwhile(ROLLOUT, () -> write(changed));

    Said said = apply("action: replace\n");

    assertThat(said.exit()).as(said.err()).isEqualTo(8);
    assertThat(said.out())
        .contains(
            "guest=web2 action=replace outcome=not-started",
            "Guests moved: 1. No other guest is, since the policy was changed: ");
    assertThat(asked(ROLLOUT)).hasSize(1);
    assertThat(PolicyStop.read(state)).isEmpty();
  }

  /// Who cannot move is no canary.
  @Test
  void theFirstThatCanMoveIsWatched() throws Exception {
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 left-alone", "web2 committed", "db1 committed")));

    assertThat(apply("action: replace\n").exit()).isEqualTo(5);

    assertThat(asked(ROLLOUT).stream().map(PolicyScene::names))
        .containsExactly(List.of("web1"), List.of("web2"), List.of("db1"));
    assertThat(asked(ROLLOUT).stream().map(order -> order.path("canary").asInt()))
        .containsExactly(1, 1, 0);
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

  /// The takeover is slower than the end of the guest that is left.
  @Test
  void aGuestThatEndsWhileTheDaemonGivesWayIsNotWaitedFor() throws Exception {
    daemon.answering(
        ROLLOUT,
        "{\"problem\":{\"code\":\"%s\",\"detail\":\"A newer daemon takes over.\",\"status\":503}}\n"
            .formatted(Problem.DAEMON_UPGRADING.code()));
    CompletableFuture<Said> run =
        CompletableFuture.supplyAsync(() -> apply("action: replace\nexcept: [db1]\n", "--json"));
    while (asked(ROLLOUT).isEmpty()) {
      Thread.sleep(10);
    }
    daemon.answering("GET /v1/guests", guests());
    daemon.answering(ROLLOUT, result(rollout("")));

    Said said = run.get();
    assertThat(said.exit()).as(said.err()).isZero();
    assertThat(said.out()).contains("\"gone\"");
    assertThat(asked(ROLLOUT)).hasSize(1);
    assertThat(PolicyStop.read(state)).isEmpty();
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
}
