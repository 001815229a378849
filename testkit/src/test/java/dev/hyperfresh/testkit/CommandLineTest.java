package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// The command as users meet it: processes of their own, a daemon among them, and nothing but what
/// they print and the codes they end with.
@Tag("slow")
class CommandLineTest {
  private static final Duration START = Duration.ofMinutes(3);

  /// What a daemon that has nothing to do may hold of the host's memory, and when it must have
  /// given the rest back: the launcher has it do so every ten seconds.
  private static final long IDLE_BYTES = 120_000_000;

  private static final Duration IDLE = Duration.ofMinutes(2);
  private static final int COMMANDS = 20;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();
  private TestReleases releases;

  @BeforeEach
  void prepare() throws IOException {
    releases = new TestReleases(workspace.state().resolve("releases"));
  }

  @AfterEach
  void endDaemons() throws InterruptedException {
    for (Process daemon : daemons) {
      daemon.destroy();
      if (!daemon.waitFor(180, TimeUnit.SECONDS)) {
        daemon.destroyForcibly().waitFor();
      }
    }
  }

  @Test
  void everyCommandHasHelp() {
    List<String> withoutExample = new ArrayList<>();
    help(List.of(), withoutExample);
    System.out.println("  commands without an example: " + withoutExample);
  }

  private static void help(List<String> command, List<String> withoutExample) {
    List<String> line = new ArrayList<>(command);
    line.add("--help");
    CommandRun run = CommandRun.here(line.toArray(String[]::new)).succeeds();
    String name = ("hyperfresh " + String.join(" ", command)).strip();
    assertThat(run.out()).startsWith("Usage: " + name);
    List<String> inner = subcommands(run.out());
    if (inner.isEmpty() && !run.out().contains("Example")) {
      withoutExample.add(name);
    }
    for (String each : inner) {
      List<String> next = new ArrayList<>(command);
      next.add(each);
      help(next, withoutExample);
    }
  }

  private static List<String> subcommands(String help) {
    int at = help.indexOf("\nCommands:");
    if (at < 0) {
      return List.of();
    }
    return help.substring(at + 1)
        .lines()
        .skip(1)
        .takeWhile(line -> !line.isBlank())
        .filter(line -> line.matches(" {2}[a-z].*"))
        .map(line -> line.strip().split("[ ,]", 2)[0])
        .toList();
  }

  @Test
  void theCompletionIsBash() throws Exception {
    Path script = workspace.state().resolve("completion.bash");
    Files.writeString(script, CommandRun.of("generate-completion").succeeds().out());
    assertThat(Files.readString(script)).contains("complete -F", "replace", "--max-blackout");
    Process bash =
        new ProcessBuilder("bash", "-n", script.toString()).redirectErrorStream(true).start();
    String said =
        new String(bash.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
    assertThat(bash.waitFor()).as(said).isZero();
    assertThat(said).isEmpty();
  }

  @Test
  void wrongCommandsEndWithTwo() {
    for (List<String> wrong :
        List.of(
            List.of("no-such-command"),
            List.of("guest", "create"),
            List.of("replace", "web1"),
            List.of("replace", "web1", "--to", "qemu-10.0", "--max-blackout", "soon"),
            List.of("history", "--limit", "all"))) {
      CommandRun run = CommandRun.here(wrong.toArray(String[]::new));
      assertThat(run.code()).as(run.toString()).isEqualTo(2);
      assertThat(run.err()).as(run.toString()).isNotBlank().doesNotContain("\tat ");
    }
  }

  @Test
  void withoutADaemonEveryCommandSaysSo() throws Exception {
    for (List<String> command :
        List.of(
            List.of("guest", "list"),
            List.of("release", "list"),
            List.of("replace", "web1", "--to", "qemu-10.0"),
            List.of("history"))) {
      run(command).fails(Problem.DAEMON_ABSENT, "daemon.sock");
    }
    // A socket that nobody listens on is the trace of a daemon that was killed.
    Files.createFile(workspace.state().resolve("daemon.sock"));
    run(List.of("guest", "list")).fails(Problem.DAEMON_ABSENT, "daemon.sock");
    CommandRun json = run(List.of("guest", "list", "--json"));
    assertThat(json.code()).isEqualTo(Problem.DAEMON_ABSENT.exitCode());
    assertThat(json.json().path("code").asString()).isEqualTo(Problem.DAEMON_ABSENT.code());
    assertThat(json.json().path("advice").asString()).isEqualTo(Problem.DAEMON_ABSENT.advice());
  }

  @Test
  void theDoctorNeedsNoDaemonAndChangesNothing() throws Exception {
    List<String> before = releases.names();
    CommandRun text = run(List.of("doctor")).succeeds();
    assertThat(text.out()).contains("accelerator", "network", "memory", "releases");
    JsonNode findings = run(List.of("doctor", "--json")).succeeds().json().path("findings");
    assertThat(values(findings, "subject")).contains("accelerator", "network", "packages");
    assertThat(values(findings, "verdict")).allMatch(List.of("ok", "limited", "missing")::contains);
    assertThat(releases.names()).isEqualTo(before);
    assertThat(workspace.state().resolve("daemon.sock")).doesNotExist();
  }

  @Test
  void aGuestIsMadeMovedAndDeleted() throws Exception {
    startDaemon();
    releasesAreShown();
    guestIsMade();
    guestIsMoved();
    historyTells();
    guestEnds();
    eventsTell();
  }

  private void eventsTell() throws Exception {
    List<JsonNode> told = CommandRun.eventsUntil(workspace.state(), "guest.deleted");
    assertThat(told.stream().map(event -> event.path("type").asString()))
        .startsWith("missed", "guest.changed")
        .endsWith("guest.deleted");
    assertThat(
            told.stream()
                .filter(event -> event.path("type").asString().equals("guest.replaced"))
                .map(event -> event.path("data").path("outcome").asString()))
        .containsExactly("committed", "committed");
  }

  private void releasesAreShown() throws Exception {
    assertThat(run(List.of("release", "list")).succeeds().out())
        .contains("RELEASE", "qemu-7.2.", "qemu-10.0.");
    JsonNode list = run(List.of("release", "list", "--json")).succeeds().json().path("releases");
    assertThat(values(list, "name")).hasSize(2);
    assertThat(run(List.of("release", "show", "qemu-7.2")).succeeds().out())
        .contains("pc-q35-7.2", "qemu64", "sha256");
    // It was described without a list of its files, as older daemons did.
    assertThat(run(List.of("release", "verify", "qemu-10.0")).succeeds().out())
        .contains("its binary is unchanged", "they are recorded now");
    assertThat(run(List.of("release", "verify", "qemu-10.0")).succeeds().out())
        .contains("is unchanged and runs.");
    run(List.of("release", "show", "qemu-1.0")).fails(Problem.RELEASE_UNKNOWN, "qemu-1.0");
  }

  private void guestIsMade() throws Exception {
    Path kernel = workspace.state().resolve("tick.elf");
    Files.copy(Workshop.images().tick(), kernel);
    Path spec = workspace.state().resolve("web1.yaml");
    Files.writeString(
        spec,
        """
        name: web1
        memory: 64M
        machine: pc-q35-7.2
        accelerator: tcg
        release: qemu-7.2
        kernel: tick.elf
        """);
    CommandRun created = run(List.of("guest", "create", "-f", spec.toString())).succeeds();
    assertThat(created.out()).contains("web1", "running", "qemu-7.2");
    run(List.of("guest", "create", "-f", spec.toString())).fails(Problem.GUEST_EXISTS, "web1");
    assertThat(run(List.of("guest", "list")).succeeds().out()).contains("GUEST", "web1", "64 MiB");
    JsonNode guest = run(List.of("guest", "show", "web1", "--json")).succeeds().json();
    assertThat(guest.path("state").asString()).isEqualTo("running");
    TestGuest.beatingIn(guest.path("pid").asInt(), Workshop.BOOT).close();
  }

  private void guestIsMoved() throws Exception {
    CommandRun plan = run(List.of("replace", "web1", "--to", "qemu-10.0", "--dry-run")).succeeds();
    assertThat(plan.out())
        .contains("web1 can move to qemu-10.0", "  pass     rehearsal", "took the state of a twin")
        .doesNotContain("FAIL", "unknown");
    assertThat(plan.err()).contains("rehearsing with a twin");
    JsonNode planned =
        run(List.of("replace", "web1", "--to", "qemu-10.0", "--dry-run", "--json"))
            .succeeds()
            .json();
    assertThat(planned.path("possible").asBoolean()).isTrue();
    assertThat(values(planned.path("checks"), "verdict")).isNotEmpty().containsOnly("pass");
    assertThat(values(planned.path("checks"), "check"))
        .contains("machine type", "CPU model", "devices", "shared memory", "host memory")
        .endsWith("rehearsal");
    assertThat(generation()).as("after a dry run").isEqualTo(1);
    CommandRun moved =
        run(List.of("replace", "web1", "--to", "qemu-10.0", "--max-blackout", "5000")).succeeds();
    assertThat(moved.out()).contains("committed", "blackout", "RAM copied", "0 bytes");
    assertThat(moved.err()).contains("Prepared", "Committed");
    JsonNode back = run(List.of("replace", "web1", "--to", "qemu-7.2", "--json")).succeeds().json();
    assertThat(back.path("outcome").asString()).isEqualTo("committed");
    assertThat(back.path("ram_bytes_copied").asLong(-1)).isZero();
    assertThat(back.path("blackout_ms").asDouble(-1)).isBetween(0.0, 1000.0);
    assertThat(back.path("guest_gap_ms").isNumber()).isTrue();
    assertThat(generation()).isEqualTo(3);
    run(List.of("release", "remove", "qemu-7.2")).fails(Problem.RELEASE_IN_USE, "web1");
  }

  private int generation() throws Exception {
    return guest().path("generation").asInt();
  }

  private void historyTells() throws Exception {
    assertThat(run(List.of("history")).succeeds().out().lines()).hasSize(3);
    JsonNode all = run(List.of("history", "web1", "--json")).succeeds().json().path("replacements");
    assertThat(values(all, "outcome")).containsExactly("committed", "committed");
    assertThat(values(all, "to").getFirst()).as("newest first").startsWith("qemu-7.2");
    JsonNode one =
        run(List.of("history", "--limit", "1", "--json")).succeeds().json().path("replacements");
    assertThat(one.size()).isEqualTo(1);
    JsonNode none = run(List.of("history", "nobody", "--json")).succeeds().json();
    assertThat(none.path("replacements").size()).isZero();
  }

  private void guestEnds() throws Exception {
    CommandRun stopped = run(List.of("guest", "stop", "web1", "--patience", "0")).succeeds();
    assertThat(stopped.out()).contains("stopped");
    run(List.of("replace", "web1", "--to", "qemu-10.0")).fails(Problem.GUEST_STATE, "stopped");
    assertThat(workspace.hypervisors()).isEmpty();
    run(List.of("guest", "delete", "web1")).succeeds();
    run(List.of("guest", "show", "web1")).fails(Problem.GUEST_UNKNOWN, "web1");
    assertThat(workspace.files("web1")).doesNotExist();
    assertThat(workspace.sockets()).isEmpty();
  }

  @Test
  void aDirectoryHasOneDaemonAtATime() throws Exception {
    Process first = startDaemon();
    run(List.of("daemon")).fails(Problem.DAEMON_RUNNING, "is locked");
    run(List.of("guest", "list")).succeeds();
    assertSmallWhenIdle(first);

    first.destroy();
    assertThat(first.waitFor(180, TimeUnit.SECONDS)).as("ends after SIGTERM").isTrue();
    run(List.of("guest", "list")).fails(Problem.DAEMON_ABSENT, "daemon.sock");

    Process second = startDaemon();
    run(List.of("guest", "list")).succeeds();
    second.destroyForcibly();
    assertThat(second.waitFor(180, TimeUnit.SECONDS)).as("ends after SIGKILL").isTrue();
    run(List.of("guest", "list")).fails(Problem.DAEMON_ABSENT, "daemon.sock");

    startDaemon();
    run(List.of("guest", "list")).succeeds();
  }

  /// After it has answered some commands.
  private void assertSmallWhenIdle(Process daemon) throws IOException {
    for (int i = 0; i < COMMANDS; i++) {
      CommandRun.here("guest", "list", "--state", workspace.state().toString()).succeeds();
    }
    System.out.println(
        "  a daemon after " + COMMANDS + " commands: " + resident(daemon) + " bytes");
    Workshop.await(
        "a daemon of at most " + IDLE_BYTES + " bytes", IDLE, () -> resident(daemon) <= IDLE_BYTES);
  }

  private static long resident(Process process) {
    return read(Path.of("/proc/" + process.pid() + "/status"))
        .lines()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("\\D", "")))
        .findFirst()
        .orElseThrow();
  }

  private JsonNode guest() throws Exception {
    return run(List.of("guest", "show", "web1", "--json")).succeeds().json();
  }

  private Process startDaemon() throws IOException {
    Path log = workspace.state().resolve("daemon-" + daemons.size() + ".log");
    Process daemon =
        new ProcessBuilder(CommandRun.launched("daemon", "--state", workspace.state().toString()))
            .redirectInput(Path.of("/dev/null").toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    daemons.add(daemon);
    Workshop.await(
        "the daemon serving in " + log,
        START,
        () -> !daemon.isAlive() || read(log).contains("hyperfresh: serving on "));
    assertThat(daemon.isAlive()).as(read(log)).isTrue();
    return daemon;
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return "";
    }
  }

  private CommandRun run(List<String> arguments) throws IOException, InterruptedException {
    List<String> all = new ArrayList<>(arguments);
    all.addAll(List.of("--state", workspace.state().toString()));
    return CommandRun.of(all.toArray(String[]::new));
  }

  private static List<String> values(JsonNode list, String field) {
    return StreamSupport.stream(list.spliterator(), false)
        .map(item -> item.path(field).asString(""))
        .toList();
  }
}
