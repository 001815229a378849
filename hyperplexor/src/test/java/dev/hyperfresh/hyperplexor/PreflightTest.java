package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hyperplexor.Preflight.Rehearsing;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Check.Verdict;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(20)
class PreflightTest {
  @TempDir Path folder;
  private Stage stage;
  private Guest guest;
  private final List<String> steps = new ArrayList<>();

  @BeforeEach
  void raiseTheCurtain() {
    stage = new Stage(folder);
    guest = stage.guest("web1");
  }

  @AfterEach
  void fallTheCurtain() {
    guest.delete(true);
    stage.close();
  }

  @Test
  void everythingIsOneListWithTheRehearsalAtItsEnd() {
    stage.checks = List.of(Check.pass("machine type", "Known."));
    stage.liveChecks = List.of(Check.pass("devices", "None refuses."));

    List<Check> checks = checks(Rehearsing.ONCE);

    assertThat(checks)
        .extracting(Check::name)
        .containsExactly(
            "machine type",
            "run state",
            "devices",
            "shared memory",
            "host memory",
            "open files",
            "mappings",
            "overcommit",
            "state directory",
            "rehearsal");
    assertThat(checks).noneMatch(Check::failed);
    assertThat(checks)
        .filteredOn(check -> !check.remedy().isEmpty())
        .allMatch(check -> check.verdict() == Verdict.UNKNOWN);
    assertThat(stage.replacementCalls()).containsExactly("1.rehearse " + Stage.NEW.name());
    assertThat(steps).containsExactly("Preflight rehearsing");
  }

  @Test
  void aDryRunRehearsesAnew() {
    checks(Rehearsing.ANEW);

    assertThat(stage.replacementCalls()).containsExactly("1.rehearse scripted-2.0.0 anew");
  }

  @Test
  void whatFailsIsNotRehearsed() {
    stage.liveChecks = List.of(Check.fail("devices", "One refuses.", "Remove it."));

    assertThat(last(checks(Rehearsing.ANEW)))
        .isEqualTo(
            Check.unknown(
                "rehearsal",
                "Not rehearsed: a check above failed.",
                "Correct that and try again."));
    assertThat(stage.replacementCalls()).isEmpty();
  }

  @Test
  void aRehearsalThatWasNotAskedForIsUnknownAndStopsNothing() {
    Check rehearsal = last(checks(Rehearsing.LEFT_OUT));

    assertThat(rehearsal.verdict()).isEqualTo(Verdict.UNKNOWN);
    assertThat(rehearsal.finding()).isEqualTo("Not rehearsed: --no-rehearsal was given.");
    assertThat(stage.replacementCalls()).isEmpty();
    assertThatCode(() -> require(Rehearsing.LEFT_OUT)).doesNotThrowAnyException();
  }

  @Test
  void aRehearsalThatFailsStopsTheReplacement() {
    stage.rehearsal = Check.fail("rehearsal", "It rejects that.", "Choose another.");

    assertThatThrownBy(() -> require(Rehearsing.ONCE))
        .isInstanceOfSatisfying(
            HyperFreshException.class,
            refused -> {
              assertThat(refused.problem()).isEqualTo(Problem.REPLACE_OBSTACLES);
              assertThat(refused.detail()).isEqualTo("It rejects that. Choose another.");
            });
  }

  @Test
  void privateMemoryFails() {
    stage.sharing = false;

    assertThat(named(checks(Rehearsing.ONCE), "shared memory").verdict()).isEqualTo(Verdict.FAIL);
  }

  @Test
  void aReleaseOfAnotherKindFails() {
    List<Check> checks =
        guest.call(() ->
            new Preflight(
                    guest,
                    new StagedRelease("other-1", "machine"),
                    Rehearsing.ONCE,
                    new ReentrantLock(),
                    Progress.NONE)
                .checks());

    assertThat(named(checks, "release"))
        .isEqualTo(
            Check.fail(
                "release",
                "other-1 is of kind machine, which this daemon does not have.",
                "Choose a release of another kind."));
  }

  private List<Check> checks(Rehearsing rehearsing) {
    return guest.call(() -> preflight(rehearsing).checks());
  }

  private void require(Rehearsing rehearsing) {
    guest.call(() -> {
      preflight(rehearsing).require();
      return true;
    });
  }

  private Preflight preflight(Rehearsing rehearsing) {
    return new Preflight(
        guest,
        Stage.NEW,
        rehearsing,
        new ReentrantLock(),
        (state, text) -> steps.add(state + " " + text));
  }

  private static Check last(List<Check> checks) {
    return checks.getLast();
  }

  private static Check named(List<Check> checks, String name) {
    return checks.stream().filter(check -> check.name().equals(name)).findFirst().orElseThrow();
  }
}
