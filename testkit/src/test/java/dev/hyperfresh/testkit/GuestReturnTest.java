package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// A real guest is started again, however it ended: by request, by its policy, after another daemon
/// and after a boot of the host.
@Tag("slow")
class GuestReturnTest {
  private static final Duration START = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();

  @BeforeEach
  void prepare() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    Files.copy(Workshop.images().tick(), workspace.state().resolve("tick.elf"));
    startDaemon();
    run("guest", "create", "-f", spec("stop", 64).toString(), "--no-start").succeeds();
  }

  @AfterEach
  void end() throws Exception {
    run("guest", "delete", "web1", "--force");
    for (Process daemon : daemons) {
      daemon.destroyForcibly().waitFor();
    }
  }

  private Path spec(String onCrash, int mebibytes) throws IOException {
    return Files.writeString(
        workspace.state().resolve("web1.yaml"),
        """
        name: web1
        memory: %dM
        accelerator: tcg
        release: qemu-7.2
        kernel: tick.elf
        on-crash: %s
        """
            .formatted(mebibytes, onCrash));
  }

  @Test
  void itIsStartedAgainMovedAndEdited() throws Exception {
    assertThat(workspace.hypervisors()).isEmpty();
    run("guest", "start", "web1").succeeds();
    beats();
    run("guest", "delete", "web1").fails(Problem.GUEST_RUNS, "web1");
    beats();
    run("guest", "stop", "web1", "--patience", "0").succeeds();
    assertThat(workspace.hypervisors()).isEmpty();

    run("guest", "start", "web1", "--release", "qemu-10.0").succeeds();

    beats();
    assertThat(show().path("release").asString()).startsWith("qemu-10.0");
    JsonNode moved = run("replace", "web1", "--to", "qemu-7.2", "--json").succeeds().json();
    assertThat(moved.path("outcome").asString()).isEqualTo("committed");
    run("guest", "edit", "web1", "-f", spec("stop", 128).toString()).succeeds();
    assertThat(show().path("memory_mib").asInt()).isEqualTo(64);
    run("guest", "restart", "web1", "--patience", "0").succeeds();
    assertThat(show().path("memory_mib").asInt()).isEqualTo(128);
    beats();
    assertThat(workspace.hypervisors()).hasSize(1);
  }

  @Test
  void itsPolicyStartsItAgainWhenItsHypervisorIsKilled() throws Exception {
    run("guest", "edit", "web1", "-f", spec("restart", 64).toString()).succeeds();
    run("guest", "start", "web1").succeeds();
    beats();
    int first = show().path("pid").asInt();

    Injection.kill(first);

    Workshop.await("the next start", START, () -> show().path("generation").asInt() == 2);
    beats();
    assertThat(show().path("pid").asInt()).isNotEqualTo(first);
    assertThat(show().path("restarts").asInt()).isEqualTo(1);
  }

  @Test
  void aBootOfTheHostBringsItBack() throws Exception {
    run("guest", "start", "web1").succeeds();
    run("guest", "autostart", "web1", "on").succeeds();
    daemons.getLast().destroyForcibly().waitFor();
    Injection.kill((int) workspace.hypervisors().getFirst().pid());
    Path file = workspace.files("web1").resolve("guest.properties");
    Files.write(
        file,
        Files.readAllLines(file).stream()
            .map(line -> line.replaceFirst("^((running\\.)?boot)=.*", "$1=an-earlier-one"))
            .toList());

    startDaemon();

    Workshop.await("the guest", START, () -> show().path("state").asString().equals("running"));
    assertThat(show().path("generation").asInt()).isEqualTo(2);
    beats();
  }

  private void beats() throws Exception {
    TestGuest.beatingIn(show().path("pid").asInt(), Workshop.BOOT).close();
  }

  private void startDaemon() throws Exception {
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start();
    daemons.add(daemon);
    Workshop.await("a daemon", START, () -> run("guest", "list").code() == 0);
  }

  private JsonNode show() {
    return run("guest", "show", "web1", "--json").succeeds().json();
  }

  private CommandRun run(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }
}
