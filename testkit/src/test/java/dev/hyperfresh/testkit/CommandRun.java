package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.cli.Main;
import dev.hyperfresh.hypervisor.Problem;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// One run of the `hyperfresh` command.
///
/// @param code the exit code
/// @param out standard output
/// @param err standard error
record CommandRun(List<String> arguments, int code, String out, String err) {
  private static final long PATIENCE_SECONDS = 300;

  /// The program and its first arguments; more follow.
  static List<String> command(String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Xshare:auto",
                "-cp",
                System.getProperty("java.class.path"),
                "dev.hyperfresh.cli.Main"));
    command.addAll(List.of(arguments));
    return command;
  }

  /// The program as the launcher starts it, with its options for the JVM and with the classes of
  /// this test.
  static List<String> launched(String... arguments) {
    List<String> command =
        new ArrayList<>(
            List.of(
                "bash",
                "-euc",
                ". \"$0\"; JARS=$1; shift; start \"$1\" '' -- \"${@:2}\"",
                Path.of("../setup/launch.sh").toAbsolutePath().toString(),
                System.getProperty("java.class.path"),
                Path.of(System.getProperty("java.home"), "bin", "java").toString()));
    command.addAll(List.of(arguments));
    return command;
  }

  /// Runs a command to its end, in a process of its own as a user starts it.
  static CommandRun of(String... arguments) throws IOException, InterruptedException {
    Path out = Files.createTempFile("hf-out", ".txt");
    Path err = Files.createTempFile("hf-err", ".txt");
    try {
      Process process =
          new ProcessBuilder(command(arguments))
              .redirectInput(Path.of("/dev/null").toFile())
              .redirectOutput(out.toFile())
              .redirectError(err.toFile())
              .start();
      if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new AssertionError(List.of(arguments) + " does not end");
      }
      return new CommandRun(
          List.of(arguments), process.exitValue(), Files.readString(out), Files.readString(err));
    } finally {
      Files.delete(out);
      Files.delete(err);
    }
  }

  /// Runs a command to its end in this process, which spares the start of a JVM. One at a time.
  static CommandRun here(String... arguments) {
    PrintStream out = System.out;
    PrintStream err = System.err;
    ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
    ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
    try {
      int code = Main.run(arguments);
      return new CommandRun(
          List.of(arguments),
          code,
          outBytes.toString(StandardCharsets.UTF_8),
          errBytes.toString(StandardCharsets.UTF_8));
    } finally {
      System.setOut(out);
      System.setErr(err);
    }
  }

  /// What `hyperfresh events` prints of all that a daemon still knows, to the first event of a
  /// type.
  static List<JsonNode> eventsUntil(Path state, String type) throws IOException {
    Path out = Files.createTempFile("hf-events", ".txt");
    Process events =
        new ProcessBuilder(
                command("events", "--json", "--after", "0-0", "--state", state.toString()))
            .redirectOutput(out.toFile())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      Workshop.await(
          type,
          Duration.ofSeconds(PATIENCE_SECONDS),
          () ->
              Workshop.wholeLines(out).stream()
                  .anyMatch(line -> line.contains("\"type\":\"" + type + "\"")));
      return Workshop.wholeLines(out).stream().map(JsonMapper.shared()::readTree).toList();
    } finally {
      events.destroy();
      Files.delete(out);
    }
  }

  /// Fails unless the command did what it was asked to.
  CommandRun succeeds() {
    assertThat(code).as(toString()).isZero();
    return this;
  }

  /// Fails unless the command ended with `problem`, and said what happened and what to do.
  CommandRun fails(Problem problem, String detail) {
    assertThat(code).as(toString()).isEqualTo(problem.exitCode());
    assertThat(err)
        .as(toString())
        .contains(problem.code(), problem.summary(), detail, problem.advice());
    assertThat(out).as(toString()).isEmpty();
    return this;
  }

  /// The answer of a command with `--json`.
  JsonNode json() {
    return JsonMapper.shared().readTree(out);
  }

  @Override
  public String toString() {
    return String.join(" ", arguments)
        + " ended with "
        + code
        + "\n--- out\n"
        + new String(out.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8)
        + "--- err\n"
        + err;
  }
}
