package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import dev.hyperfresh.daemon.Policy.Action;
import dev.hyperfresh.daemon.Policy.Step;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PolicyTest {
  private static final Path FILE = Path.of("/etc/hyperfresh/policy.yaml");
  private static final Instant SATURDAY = Instant.parse("2026-11-07T03:00:00Z");
  private static final String REPLACE = "action: replace\nwindow: Sat..Sun 02:00-05:00\n";

  @TempDir Path folder;

  private static Policy policy(String text) {
    return Policy.parse(text, FILE);
  }

  @Test
  void whatIsNotSaidHasItsDefault() {
    for (String nothing : List.of("", "# nothing\n", "{}", "canary:\n")) {
      Policy policy = policy(nothing);
      assertThat(policy.action()).isEqualTo(Action.REPORT);
      assertThat(policy.pace()).isEqualTo(new Rollout.Pace(1, 1, Duration.ofMinutes(5)));
      assertThat(policy.window()).isEmpty();
      assertThat(policy.blackout()).isEqualTo(Duration.ofSeconds(1));
      assertThat(policy.except()).isEmpty();
    }
    for (PolicySetting setting : PolicySetting.values()) {
      assertThat(policy("").value(setting)).as(setting.key()).isEqualTo(setting.example());
    }
  }

  @Test
  void everySettingIsRead() {
    Policy policy =
        policy(
            """
            action: replace
            canary: 2
            soak: 90s
            parallel: 4
            window: Sat..Sun 02:00-05:00
            blackout: 250ms
            except: [db2, db1]
            """);

    assertThat(policy.action()).isEqualTo(Action.REPLACE);
    assertThat(policy.pace()).isEqualTo(new Rollout.Pace(4, 2, Duration.ofSeconds(90)));
    assertThat(policy.window()).contains(MaintenanceWindow.parse("Sat,Sun 02:00-05:00"));
    assertThat(policy.value(PolicySetting.SOAK)).isEqualTo("90s");
    assertThat(policy.value(PolicySetting.BLACKOUT)).isEqualTo("250ms");
    assertThat(policy.value(PolicySetting.EXCEPT)).isEqualTo("[db1, db2]");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "action: move => action: 'move' is not one of report, dry-run, replace",
        "action: dry_run => action: 'dry_run' is not one of report, dry-run, replace",
        "actoin: replace => 'actoin' is not a field",
        "canary: -1 => canary is below 0",
        "canary: one => canary: is not a number",
        "canary: 1.5 => canary: is not a number",
        "soak: 30 => soak: is not a string; put it in quotes",
        "soak: '30' => soak: '30' is not a time such as 500ms, 30s, 10m or 2h",
        "soak: soon => soak: 'soon' is not a time such as 500ms, 30s, 10m or 2h",
        "soak: 25h => soak is not between 0 and 24 hours",
        "parallel: 0 => parallel is not between 1 and 64",
        "parallel: 65 => parallel is not between 1 and 64",
        "window: Sat => window: 'Sat' is not of the form 'Sat..Sun 02:00-05:00'",
        "window: So 02:00-05:00 => window: 'So 02:00-05:00' has 'so', which is no day of the week",
        "blackout: 0s => blackout: is not between 1ms and 60s",
        "blackout: 61s => blackout: is not between 1ms and 60s",
        "except: db1 => except: is not a list of names, such as [db1, db2]",
        "except: ['db 1'] => except: \"db 1\" is not the name of a guest",
        "except: [1] => except: 1 is not the name of a guest",
        "except: [db1, db1] => except: \"db1\" is there twice",
        "{window: 02:00-03:00, soak: 1h} => soak: 1h is not shorter than the window, so that only"
            + " canaries would move",
        "just words => It is not a mapping of settings to values"
      })
  void aFaultIsNamed(String both) {
    HyperFreshException refused = refused(both.substring(0, both.indexOf(" => ")));
    String fault = both.substring(both.indexOf(" => ") + 4);

    assertThat(refused.problem()).isEqualTo(Problem.POLICY_INVALID);
    assertThat(refused.detail()).isEqualTo(FILE + ": " + fault + ".");
  }

  @Test
  void allFaultsAreNamedTogether() {
    assertThat(refused("actoin: x\ncanary: -1\nblackout: 0s\n").detail())
        .contains("'actoin'", "canary", "blackout");
    assertThat(refused("action: report\naction: replace\n").detail()).contains("Duplicate");
  }

  private static HyperFreshException refused(String text) {
    return catchThrowableOfType(HyperFreshException.class, () -> policy(text));
  }

  private static Step step(Policy policy, Instant now) {
    return policy.step(true, Optional.empty(), now, ZoneOffset.UTC);
  }

  @Test
  void whoeverRunsWhatIsInstalledIsLeftAlone() {
    for (String action : List.of("report", "dry-run", "replace")) {
      assertThat(
              policy("action: " + action)
                  .step(false, Optional.of("web1"), SATURDAY, ZoneOffset.UTC))
          .isEqualTo(new Step.Nothing());
    }
  }

  @Test
  void aReportAndADryRunWaitForNothing() {
    Instant monday = SATURDAY.plus(Duration.ofDays(2));

    assertThat(step(policy(REPLACE).withAction(Action.REPORT), monday))
        .isEqualTo(new Step.Report());
    assertThat(
            policy(REPLACE)
                .withAction(Action.DRY_RUN)
                .step(true, Optional.of("web1"), monday, ZoneOffset.UTC))
        .isEqualTo(new Step.DryRun());
  }

  @Test
  void guestsMoveInTheWindowForAsLongAsItIsOpen() {
    Policy policy = policy(REPLACE);
    Instant opens = Instant.parse("2026-11-07T02:00:00Z");

    assertThat(step(policy, SATURDAY))
        .isEqualTo(new Step.Replace(Optional.of(Duration.ofHours(2))));
    assertThat(step(policy, opens.minusMillis(1))).isEqualTo(new Step.Waits(opens));
    assertThat(step(policy, Instant.parse("2026-11-08T05:00:00Z")))
        .isEqualTo(new Step.Waits(opens.plus(Duration.ofDays(7))));
    assertThat(step(policy.atAnyTime(), opens.minusMillis(1)))
        .isEqualTo(new Step.Replace(Optional.empty()));
  }

  @Test
  void aFailureHoldsWhateverTheWindowSays() {
    assertThat(policy(REPLACE).step(true, Optional.of("web1"), SATURDAY, ZoneOffset.UTC))
        .isEqualTo(new Step.Held("web1"));
  }

  @Test
  void aStopIsKeptUntilItIsForgotten() throws Exception {
    assertThat(PolicyStop.read(folder)).isEmpty();
    PolicyStop stop = new PolicyStop(SATURDAY, List.of("10.0.2"), "Guest web1: rolled-back.");
    stop.keep(folder);
    stop.keep(folder);
    assertThat(PolicyStop.read(folder)).contains(stop);
    PolicyStop interrupted =
        new PolicyStop(SATURDAY, List.of(), "", Map.of("web1", List.of("a", "b")));
    interrupted.keep(folder);
    assertThat(PolicyStop.read(folder)).contains(interrupted);
    PolicyStop.forget(folder);
    PolicyStop.forget(folder);
    assertThat(PolicyStop.read(folder)).isEmpty();

    // Then nobody knows that nothing failed.
    Files.writeString(folder.resolve("policy-stopped.json"), "{");
    assertThat(catchThrowableOfType(HyperFreshException.class, () -> PolicyStop.read(folder)))
        .extracting(HyperFreshException::problem)
        .isEqualTo(Problem.DAEMON_STATE);
  }
}
