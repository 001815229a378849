package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Demonstrations and soaks, as a user starts them, in which something dies: they fail, and name
/// it.
@Tag("slow")
class RunLossTest {
  private static final Duration PATIENCE = Duration.ofMinutes(15);

  @TempDir private Path folder;

  /// What a command ended with.
  ///
  /// @param said to people
  /// @param json the result of the run
  /// @param problem why it failed
  private record Ended(int code, String said, JsonNode json, JsonNode problem) {
    /// Fails unless the command failed and named what it lost.
    void lost(String... words) {
      assertThat(code).as(said).isEqualTo(Problem.RUN_LOST.exitCode());
      assertThat(problem.path("code").asString()).isEqualTo(Problem.RUN_LOST.code());
      assertThat(problem.path("detail").asString()).contains(words);
    }
  }

  @Test
  void aDemonstrationWhoseNewHypervisorDiesFails() throws Exception {
    Ended ended = ended(start("demo", "--json", "--inject", "kill-target-after-commit"));
    ended.lost("guest web1 ended by itself");
    assertThat(ended.said()).contains("LOST: ");
    assertThat(ended.json().path("lost").get(0).asString()).contains("guest web1 ended by itself");
  }

  @Test
  void aDemonstrationWhoseNewMachineDiesFails() throws Exception {
    Ended ended = ended(start("demo", "machine", "--json", "--inject", "kill-target-after-commit"));
    ended.lost("machine m2 ended by itself", "guest web1 ended by itself", "did not come back");
    assertThat(ended.json().path("replacements")).hasSize(2);
    assertThat(ended.json().path("tcp").path("bytes_lost").asLong()).isPositive();
  }

  @Test
  void aSoakWhoseMachineDiesFails() throws Exception {
    Process soak = start("soak", "machines", "--boots", "1", "--json");
    Await.firstWithin(PATIENCE, () -> hardware(soak, "machine-m1")).ifPresent(Injection::kill);
    Ended ended = ended(soak);
    ended.lost("0 of 1 boots succeeded", "m1");
    assertThat(ended.json().path("survived").asInt(-1)).isZero();
    assertThat(ended.json().path("failed").get(0).asString()).startsWith("Boot 1: ");
  }

  private static Optional<Integer> hardware(Process run, String name) {
    return run.descendants()
        .map(process -> (int) process.pid())
        .filter(pid -> Workspace.commandLine(pid).contains("guest=" + name + ","))
        .findFirst();
  }

  private Process start(String... arguments) throws IOException {
    List<String> command = CommandRun.command(arguments);
    return new ProcessBuilder(command)
        .redirectInput(Path.of("/dev/null").toFile())
        .redirectOutput(folder.resolve("out").toFile())
        .redirectError(folder.resolve("err").toFile())
        .start();
  }

  private Ended ended(Process run) throws Exception {
    boolean ended = run.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    if (!ended) {
      run.destroy();
    }
    String said = Files.readString(folder.resolve("err"));
    System.out.println(said.indent(2));
    assertThat(ended).as("it ends").isTrue();
    List<JsonNode> out =
        Files.readAllLines(folder.resolve("out")).stream()
            .map(line -> JsonMapper.shared().readTree(line))
            .toList();
    assertThat(out).as("a result and a problem").hasSize(2);
    return new Ended(run.exitValue(), said, out.getFirst(), out.getLast());
  }
}
