package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/// A run of the policy that is told to end, as by a shutdown of the host.
class PolicyInterruptionTest extends PolicyScene {
  private static final String POLICY = "action: replace\n";

  /// `hyperfresh policy apply` on another root, which is the first argument.
  static final class Program {
    public static void main(String[] arguments) {
      PolicyCommand.Apply apply =
          new PolicyCommand.Apply(
              Path.of(arguments[0]), InstantSource.fixed(SATURDAY), ZoneOffset.UTC);
      System.exit(
          new CommandLine(apply)
              .setExecutionExceptionHandler(Main::report)
              .execute(Arrays.copyOfRange(arguments, 1, arguments.length)));
    }
  }

  /// What a run leaves behind that is told to end while guests move.
  private PolicyStop interrupted(String... more) throws Exception {
    write(POLICY);
    daemon.holding(ROLLOUT);
    String[] arguments =
        Stream.concat(
                Stream.of(root.toString(), file.toString(), "--state", state.toString()),
                Arrays.stream(more))
            .toArray(String[]::new);
    Said.Apart run = Said.apart(root, Map.of(), List.of(), Program.class, arguments);
    while (asked(ROLLOUT).isEmpty() && run.process().isAlive()) {
      Thread.sleep(10);
    }
    run.process().destroy();
    Said said = run.end();
    assertThat(said.exit()).as(said.err()).isEqualTo(143);
    daemon.answering(
        ROLLOUT, result(rollout("", "web1 committed", "web2 committed", "db1 committed")));
    return PolicyStop.read(state).orElseThrow();
  }

  @Test
  void theNextOneGoesOnUnlessTheHistoryHasAFailure() throws Exception {
    moved("web1", "a failed");
    PolicyStop stop = interrupted();
    assertThat(stop.wasInterrupted()).isTrue();
    assertThat(stop.asked().get("web1")).containsExactly("a");
    assertThat(shown()).contains("Its last run was interrupted").doesNotContain("Held");

    // The daemon has finished what it had begun.
    moved("web1", "b rolled-back", "a failed");
    Said held = apply(POLICY);
    assertThat(held.exit()).isEqualTo(5);
    assertThat(held.err()).contains(Problem.POLICY_HELD.code(), "Guest web1: rolled-back.");
    assertThat(shown()).contains("Held since", "Guest web1: rolled-back.");

    // It may still be about the last of it, and then refuses another rollout.
    stop.keep(state);
    moved("web1", "b committed", "a failed");
    String committed = rollout("", "web1 committed", "web2 committed", "db1 committed");
    daemon.forget(ROLLOUT);
    assertThat(apply(POLICY).exit()).isEqualTo(3);
    assertThat(PolicyStop.read(state)).contains(stop);

    daemon.answering(ROLLOUT, result(committed));
    Said goesOn = apply(POLICY);
    assertThat(goesOn.exit()).as(goesOn.err()).isZero();
    assertThat(PolicyStop.read(state)).isEmpty();
  }

  private String shown() {
    return Said.by("policy", "show", file.toString(), "--state", state.toString()).out();
  }

  /// It has not succeeded.
  @Test
  void anEarlierFailureIsNotForgottenByATryThatIsInterrupted() throws Exception {
    String build = "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
    new PolicyStop(Instant.EPOCH, List.of(build), "Guest db1: failed.").keep(state);

    PolicyStop stop = interrupted("--again");

    assertThat(stop.why()).isEqualTo("Guest db1: failed.");
    assertThat(apply(POLICY).err()).contains(Problem.POLICY_HELD.code(), "Guest db1: failed.");
    assertThat(apply(POLICY, "--again").exit()).isZero();
  }
}
