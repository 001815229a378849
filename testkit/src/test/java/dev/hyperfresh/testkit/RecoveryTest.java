package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.PidFd;
import dev.hyperfresh.linux.Signals;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/// A daemon is killed at a chosen call of a replacement, and the next one finds out from the
/// hypervisors themselves where the guest is.
@Tag("slow")
class RecoveryTest {
  private static final Duration START = Duration.ofMinutes(3);
  private static final long MAX_RECOVERY_MS = 2000;
  private static final Pattern TOOK = Pattern.compile("recovery took ([0-9]+) ms");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();
  private TestReleases releases;

  @BeforeEach
  void prepare() throws Exception {
    releases = new TestReleases(workspace.state().resolve("releases"));
    Files.copy(Workshop.images().tick(), workspace.state().resolve("tick.elf"));
  }

  @AfterEach
  void end() throws Exception {
    for (String name : List.of("web1", "web2")) {
      run("guest", "delete", name, "--force");
    }
    for (Process daemon : daemons) {
      daemon.destroyForcibly().waitFor();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"after 2.startWaiting", "before 2.expect", "after 1.connect", "before 1.handOver"})
  void whatWasNotOrderedIsUndone(String fate) throws Exception {
    int source = dieWhileReplacing(fate, "qemu-10.0");
    try (TestGuest guest = TestGuest.beatingIn(source, Workshop.BOOT)) {
      assertThat(workspace.hypervisors()).as("while no daemon runs").hasSize(2);

      recover();

      assertThat(pid("web1")).isEqualTo(source);
      assertOneOrdinaryHypervisor();
      assertHistory("rolled-back");
      guest.awaitBeat(START);
      assertMovesOn();
    }
  }

  /// The daemon is gone when the target resumes the guest: nobody hears it.
  @ParameterizedTest
  @ValueSource(strings = {"before 2.stateBytes", "before 1.end", "after 1.end"})
  void aTargetThatRunsTheGuestIsKept(String fate) throws Exception {
    int source = dieWhileReplacing(fate, "qemu-10.0");
    int target = targetOf(source);
    try (TestGuest guest = TestGuest.beatingIn(target, Workshop.BOOT)) {
      recover();

      assertThat(pid("web1")).isEqualTo(target);
      assertThat(show("web1").path("generation").asInt()).isEqualTo(2);
      assertOneOrdinaryHypervisor();
      assertHistory("committed");
      guest.awaitBeat(START);
      assertMovesOn();
    }
  }

  /// QEMU may see that its client has gone before it has read the client's last order, and then
  /// never reads it: both ends are right, and each has to be told as it is.
  @Test
  void aDaemonThatDiesWithItsOrderLeavesTheGuestWithOneOfThem() throws Exception {
    int source = dieWhileReplacing("after 1.handOver", "qemu-10.0");
    int target = targetOf(source);
    try (TestGuest guest = TestGuest.beatingIn(target, Workshop.BOOT)) {
      recover();

      int left = pid("web1");
      assertThat(left).isIn(source, target);
      assertOneOrdinaryHypervisor();
      assertHistory(left == target ? "committed" : "rolled-back");
      guest.awaitBeat(START);
      assertMovesOn();
    }
  }

  /// The target ran the guest and died with the daemon: what the source has is older than the
  /// memory, and no daemon may go on with that by itself.
  @Test
  void aGuestInDoubtStandsUnderEveryDaemonUntilItIsResumed() throws Exception {
    int source = dieWhileReplacing("before 2.stateBytes", "qemu-10.0");
    int target = targetOf(source);
    try (TestGuest guest = TestGuest.beatingIn(target, Workshop.BOOT)) {
      signal(target, Signals.KILL);
      Workshop.await("the end of the target", START, () -> !ProcessHandle.of(target).isPresent());
      long beats = guest.counter();

      recover();
      assertInDoubt(source);
      assertThat(history().get(0).path("problem").asString())
          .isEqualTo(Problem.REPLACE_DOUBT.code());
      daemons.getLast().destroyForcibly().waitFor();
      recover();
      assertInDoubt(source);
      daemons.getLast().destroy();
      awaitDeath();
      recover();
      assertInDoubt(source);
      Process old = daemons.getLast();
      start(CommandRun.command("daemon", "--upgrade", "--state", workspace.state().toString()));
      assertThat(old.waitFor(180, TimeUnit.SECONDS)).isTrue();
      assertInDoubt(source);
      assertThat(guest.counter()).as("beats since it stands").isEqualTo(beats);
      run("replace", "web1", "--to", "qemu-7.2")
          .fails(Problem.REPLACE_OBSTACLES, "The guest is paused");

      run("guest", "resume", "web1").succeeds();

      guest.awaitBeat(START);
      daemons.getLast().destroyForcibly().waitFor();
      recover();
      assertThat(show("web1").path("detail").asString()).isEmpty();
      guest.awaitBeat(START);
      assertMovesOn();
    }
  }

  private void assertInDoubt(int source) throws Exception {
    assertThat(show("web1").path("detail").asString()).startsWith("paused: ").contains("resume");
    assertThat(pid("web1")).isEqualTo(source);
    assertThat(workspace.hypervisors()).hasSize(1);
  }

  @Test
  void aSourceThatIsKilledAfterTheTargetResumedDoesNotMatter() throws Exception {
    int source = dieWhileReplacing("before 2.stateBytes", "qemu-10.0");
    int target = targetOf(source);
    try (TestGuest guest = TestGuest.beatingIn(target, Workshop.BOOT)) {
      signal(source, Signals.KILL);

      recover();

      assertThat(pid("web1")).isEqualTo(target);
      assertHistory("committed");
      guest.awaitBeat(START);
    }
  }

  /// The switch was given up, and the daemon died before the source went on.
  @ParameterizedTest
  @ValueSource(strings = {"after 2.freeze", "after 2.condemn", "before 1.takeBack"})
  void aSwitchThatWasBeingGivenUpLeavesOneHypervisor(String fate) throws Exception {
    startMortal(fate);
    run("guest", "create", "-f", spec("web1").toString()).succeeds();
    int source = pid("web1");
    TestGuest.beatingIn(source, Workshop.BOOT).close();
    Process client =
        client("replace", "web1", "--to", "qemu-10.0", "--max-blackout", "1", "--no-rehearsal");
    Workshop.await("a target", START, () -> workspace.hypervisors().size() == 2);
    workspace.freezeBeforeTheSwitch(ProcessHandle.of(targetOf(source)).orElseThrow());
    awaitDeath();
    client.destroyForcibly().waitFor();
    try (TestGuest guest = TestGuest.in(source)) {
      recover();

      guest.findBeat(START);
      assertOneOrdinaryHypervisor();
      assertThat(history().get(0).path("outcome").asString())
          .isIn(
              fate.endsWith("freeze")
                  ? List.of("committed", "rolled-back")
                  : List.of("rolled-back"));
      assertThat(show("web1").path("detail").asString()).isEmpty();
      assertMovesOn();
    }
  }

  @Test
  void aTargetThatRefusedTheStateMeansThatTheSourceGoesOn() throws Exception {
    QemuRelease other =
        releases.script(
            "qemu-93.0.0",
            Workshop.release("qemu-10.0"),
            "exec REAL \"${@/pc-q35-7.2/pc-q35-7.1}\"");
    int source = dieWhileReplacing("before 1.takeBack", other.name());
    try (TestGuest guest = TestGuest.in(source)) {
      recover();

      guest.findBeat(START);
      assertThat(pid("web1")).isEqualTo(source);
      assertHistory("rolled-back");
    }
  }

  @Test
  void aGuestThatWasBeingMadeIsFoundByItsProcess() throws Exception {
    startMortal("after 1.start");
    Process client = client("guest", "create", "-f", spec("web1").toString());
    awaitDeath();
    client.destroyForcibly().waitFor();
    assertThat(workspace.hypervisors()).hasSize(1);
    int process = (int) workspace.hypervisors().getFirst().pid();

    recover();

    assertThat(pid("web1")).isEqualTo(process);
    TestGuest.beatingIn(process, Workshop.BOOT).close();
    assertMovesOn();
  }

  @Test
  void aGuestThatWasNotStartedYetIsForgotten() throws Exception {
    startMortal("before 1.start");
    Process client = client("guest", "create", "-f", spec("web1").toString());
    awaitDeath();
    client.destroyForcibly().waitFor();

    startDaemon();

    assertThat(log()).contains("Guest web1 was never started.");
    assertThat(run("guest", "list", "--json").succeeds().json().path("guests")).isEmpty();
    run("guest", "create", "-f", spec("web1").toString()).succeeds();
  }

  @Test
  void aHypervisorThatDoesNotAnswerKeepsNobodyAndIsNotKilled() throws Exception {
    startMortal("never at-all");
    for (String name : List.of("web1", "web2")) {
      run("guest", "create", "-f", spec(name).toString()).succeeds();
      TestGuest.beatingIn(pid(name), Workshop.BOOT).close();
    }
    int hung = pid("web1");
    try (TestGuest guest = TestGuest.beatingIn(hung, Workshop.BOOT)) {
      daemons.getLast().destroyForcibly().waitFor();
      signal(hung, Signals.STOP);

      startDaemon();

      Workshop.await("web2 to be back", START, () -> state("web2").equals("running"));
      assertThat(show("web1").path("state").asString()).isEqualTo("recovering");
      run("replace", "web1", "--to", "qemu-10.0").fails(Problem.GUEST_STATE, "web1");
      assertThat(run("replace", "web2", "--to", "qemu-10.0").code()).isZero();
      assertThat(workspace.hypervisors()).hasSize(2);

      signal(hung, Signals.CONT);
      Workshop.await("web1 to be back", START, () -> state("web1").equals("running"));
      assertThat(pid("web1")).isEqualTo(hung);
      guest.awaitBeat(START);
      assertThat(run("replace", "web1", "--to", "qemu-10.0").code()).isZero();
    }
  }

  @Test
  void aFileThatCannotBeReadLeavesTheProcessAlone() throws Exception {
    startMortal("never at-all");
    run("guest", "create", "-f", spec("web1").toString()).succeeds();
    int process = pid("web1");
    daemons.getLast().destroyForcibly().waitFor();
    Path file = workspace.files("web1").resolve("guest.properties");
    String whole = Files.readString(file);
    Files.writeString(file, whole.substring(0, whole.length() / 2));

    startDaemon();

    assertThat(log()).contains("Guest web1 cannot be reattached", "Its processes: [" + process);
    assertThat(workspace.hypervisors()).hasSize(1);
    run("guest", "create", "-f", spec("web1").toString()).fails(Problem.GUEST_EXISTS, "web1");
    daemons.getLast().destroyForcibly().waitFor();
    Files.writeString(file, whole);
    recover();
    assertThat(pid("web1")).isEqualTo(process);
  }

  /// Kills the daemon with its own hand, at `fate`, and gives the source's process.
  private int dieWhileReplacing(String fate, String to) throws Exception {
    startMortal(fate);
    run("guest", "create", "-f", spec("web1").toString()).succeeds();
    int source = pid("web1");
    TestGuest.beatingIn(source, Workshop.BOOT).close();
    Process client = client("replace", "web1", "--to", to, "--no-rehearsal");
    awaitDeath();
    client.destroyForcibly().waitFor();
    return source;
  }

  private void awaitDeath() throws Exception {
    assertThat(daemons.getLast().waitFor(180, TimeUnit.SECONDS)).as("the daemon dies").isTrue();
  }

  private int targetOf(int source) {
    return (int)
        workspace.hypervisors().stream()
            .mapToLong(ProcessHandle::pid)
            .filter(pid -> pid != source)
            .findFirst()
            .orElseThrow();
  }

  private static void signal(int pid, int signal) {
    try (PidFd process = PidFd.open(pid)) {
      process.signal(signal);
    }
  }

  private void recover() throws Exception {
    startDaemon();
    Matcher took = TOOK.matcher(log());
    assertThat(took.find()).isTrue();
    long millis = Long.parseLong(took.group(1));
    long most = (long) (MAX_RECOVERY_MS * Workshop.crowd());
    System.out.println("  recovery took " + millis + " ms, allowed " + most);
    assertThat(millis).isLessThan(most);
    Workshop.await("web1 to be reattached", START, () -> !state("web1").equals("recovering"));
  }

  /// No thread of it keeps the priority that a switch gave.
  private void assertOneOrdinaryHypervisor() {
    // One that was told to end is there for a moment.
    Await.holdsWithin(START, () -> workspace.hypervisors().size() == 1);
    List<ProcessHandle> left = workspace.hypervisors();
    assertThat(left).hasSize(1);
    Await.holdsWithin(START, () -> workspace.sockets().size() == 2);
    assertThat(workspace.sockets()).as("sockets of the hypervisor that is left").hasSize(2);
    assertThat(VirtualProcessors.extraordinaryThreads((int) left.getFirst().pid())).isEmpty();
  }

  /// The guest is back before its replacement is written down.
  private JsonNode history() {
    Workshop.await("a row of the history", START, () -> !replacements().isEmpty());
    return replacements();
  }

  private JsonNode replacements() {
    try {
      return run("history", "web1", "--json").succeeds().json().path("replacements");
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private void assertHistory(String outcome) throws Exception {
    assertThat(history()).hasSize(1);
    JsonNode row = history().get(0);
    assertThat(row.path("outcome").asString()).isEqualTo(outcome);
    assertThat(row.path("detail").asString()).isEqualTo("by the next daemon");
    assertThat(row.path("problem").asString(""))
        .isEqualTo(outcome.equals("committed") ? "" : Problem.DAEMON_DIED.code());
    String told = row.path("id").asString() + " " + outcome + " by the next daemon";
    assertThat(log()).contains(told);
  }

  private void assertMovesOn() throws Exception {
    JsonNode before = show("web1");
    String to = before.path("release").asString().startsWith("qemu-7") ? "qemu-10.0" : "qemu-7.2";
    JsonNode moved =
        run("replace", "web1", "--to", to, "--no-rehearsal", "--json").succeeds().json();
    assertThat(moved.path("outcome").asString()).isEqualTo("committed");
    assertThat(show("web1").path("generation").asInt())
        .isGreaterThan(before.path("generation").asInt());
    assertThat(workspace.hypervisors()).hasSize(1);
  }

  private Path spec(String name) throws IOException {
    return Files.writeString(
        workspace.state().resolve(name + ".yaml"),
        "name: " + name + "\nmemory: 64M\naccelerator: tcg\nrelease: qemu-7.2\nkernel: tick.elf\n");
  }

  private void startMortal(String fate) throws Exception {
    String[] words = fate.split(" ");
    start(MortalDaemon.command(workspace.state(), words[0], words[1]));
  }

  private void startDaemon() throws Exception {
    start(CommandRun.command("daemon", "--state", workspace.state().toString()));
  }

  private void start(List<String> command) throws Exception {
    Files.writeString(workspace.state().resolve("daemon.log"), "");
    daemons.add(
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start());
    Workshop.await("a daemon that serves", START, () -> log().contains("serving on"));
  }

  private String log() {
    try {
      return Files.readString(workspace.state().resolve("daemon.log"));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private JsonNode show(String name) throws Exception {
    return run("guest", "show", name, "--json").succeeds().json();
  }

  private String state(String name) {
    try {
      return show(name).path("state").asString();
    } catch (Exception e) {
      throw new AssertionError(e);
    }
  }

  private int pid(String name) throws Exception {
    return show(name).path("pid").asInt();
  }

  private Process client(String... arguments) throws IOException {
    List<String> command = CommandRun.command(arguments);
    command.addAll(List.of("--state", workspace.state().toString()));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(workspace.state().resolve("client.txt").toFile())
        .start();
  }

  private CommandRun run(String... arguments) throws Exception {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }
}
