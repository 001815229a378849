package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// `hyperfresh soak`, as a user starts it: a short one to its end, and one that is interrupted.
/// `-Dhyperfresh.fault.seed=N` replays its faults.
@Tag("slow")
class SoakTest {
  private static final int REPLACEMENTS = 50;
  private static final long LIMIT_SECONDS = 600;
  private static final long LEAVING_SECONDS = 120;

  private static final Duration ENDING = Duration.ofSeconds(30);

  @TempDir private Path folder;

  private final Set<Path> before = directories();

  @Test
  void fiftyReplacementsWithFaultsLoseNothing() throws Exception {
    long seed = Long.getLong("hyperfresh.fault.seed", System.nanoTime());
    Process soak =
        start(
            "--replacements",
            Integer.toString(REPLACEMENTS),
            "--guests",
            "2",
            "--faults",
            "30",
            "--seed",
            Long.toString(seed));
    boolean ended = soak.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS);
    if (!ended) {
      interrupt(soak);
    }
    String said = Files.readString(err());
    System.out.println(said.indent(2));
    assertThat(ended).as("it ends in time").isTrue();
    assertThat(soak.exitValue()).as(said).isZero();
    JsonNode result = JsonMapper.shared().readTree(Files.readString(out()));
    assertThat(result.path("replacements").asInt()).isEqualTo(REPLACEMENTS);
    assertThat(result.path("committed").asInt() + result.path("rolled_back").asInt())
        .isEqualTo(REPLACEMENTS);
    assertThat(result.path("faults").size()).as("kinds of faults, and none").isGreaterThan(1);
    assertThat(result.path("guests_lost").asInt(-1)).isZero();
    assertThat(result.path("wrong").size()).as(result.path("wrong").toString()).isZero();
    assertThat(result.path("tcp_bytes_lost").asLong(-1)).isZero();
    assertThat(result.path("blackout_ms").path("n").asInt()).isPositive();
    assertThat(result.path("noise_floor_ms").path("n").asInt()).isPositive();
    requireNothingLeft();
  }

  @Test
  void ctrlCLeavesNothingBehind() throws Exception {
    Process soak = start("--replacements", "1000", "--guests", "2", "--faults", "50");
    Workshop.await(
        "some replacements",
        Workshop.BOOT,
        () -> !soak.isAlive() || Workshop.contains(err(), "  4/1000 "));
    assertThat(soak.isAlive()).as(Files.readString(err())).isTrue();
    interrupt(soak);
    requireNothingLeft();
  }

  private Process start(String... arguments) throws IOException {
    List<String> command = CommandRun.command("soak", "--json");
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command)
        .redirectInput(Path.of("/dev/null").toFile())
        .redirectOutput(out().toFile())
        .redirectError(err().toFile())
        .start();
  }

  private static void interrupt(Process soak) throws InterruptedException {
    soak.destroy();
    assertThat(soak.waitFor(LEAVING_SECONDS, TimeUnit.SECONDS)).as("it leaves").isTrue();
  }

  private Path out() {
    return folder.resolve("out");
  }

  private Path err() {
    return folder.resolve("err");
  }

  /// The directories of all soaks on this host.
  private static Set<Path> directories() {
    try (Stream<Path> listed = Files.list(Path.of("/tmp"))) {
      return listed
          .filter(path -> path.getFileName().toString().startsWith("hf-soak-"))
          .collect(Collectors.toSet());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Neither a directory that was not there before, nor a hypervisor whose directory is gone.
  private void requireNothingLeft() {
    assertThat(directories()).as("directories of soaks").isSubsetOf(before);
    // One that was killed is there for a moment.
    assertThat(Await.emptyWithin(ENDING, SoakTest::strays)).as("processes of soaks").isEmpty();
  }

  private static List<String> strays() {
    Set<Path> now = directories();
    return ProcessHandle.allProcesses()
        .map(process -> Workspace.commandLine(process.pid()))
        .filter(line -> line.contains("/hf-soak-"))
        .filter(line -> now.stream().noneMatch(path -> line.contains(path + "/")))
        .toList();
  }
}
