package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// Guests outlive their daemon, and the next one takes them back: after it was killed with nothing
/// to do, and in the middle of a replacement.
@Tag("slow")
class TakeBackTest {
  private static final Duration START = Duration.ofMinutes(3);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();

  @BeforeEach
  void prepare() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    Files.copy(Workshop.images().tick(), workspace.state().resolve("tick.elf"));
    Files.writeString(
        workspace.state().resolve("web1.yaml"),
        """
        name: web1
        memory: 64M
        accelerator: %s
        release: qemu-7.2
        kernel: tick.elf
        """
            .formatted(AcceleratorWish.TCG.label()));
    startDaemon();
    run("guest", "create", "-f", workspace.state().resolve("web1.yaml").toString()).succeeds();
  }

  @AfterEach
  void end() throws Exception {
    run("guest", "delete", "web1", "--force");
    for (Process daemon : daemons) {
      daemon.destroyForcibly().waitFor();
    }
  }

  @Test
  void aKilledDaemonLosesNoGuest() throws Exception {
    try (TestGuest guest = TestGuest.beatingIn(pid(), Workshop.BOOT)) {
      killDaemon();
      guest.awaitBeat(START);
      startDaemon();
      JsonNode taken = show();
      assertThat(taken.path("state").asString()).isEqualTo("running");
      assertThat(taken.path("generation").asInt()).isEqualTo(1);
      guest.awaitBeat(START);
      JsonNode moved = run("replace", "web1", "--to", "qemu-10.0", "--json").succeeds().json();
      assertThat(moved.path("outcome").asString()).isEqualTo("committed");
      guest.awaitBeat(START);
      killDaemon();
      startDaemon();
      assertThat(show().path("clock_lost_ms_total").asDouble())
          .as("what the clocks have lost, after another daemon's death")
          .isEqualTo(moved.path("clock_lost_ms").asDouble())
          .isPositive();
      assertThat(show().path("clock_unmeasured").asInt()).isZero();
    }
  }

  @Test
  void anOrderlyEndLeavesTheGuestRunningToo() throws Exception {
    try (TestGuest guest = TestGuest.beatingIn(pid(), Workshop.BOOT)) {
      daemons.getLast().destroy();
      assertThat(daemons.getLast().waitFor(180, TimeUnit.SECONDS)).isTrue();
      guest.awaitBeat(START);
      startDaemon();
      assertThat(show().path("detail").asString()).isEmpty();
    }
  }

  @Test
  void aReplacementThatWasUnderWayIsUndone() throws Exception {
    int source = pid();
    try (TestGuest guest = TestGuest.beatingIn(source, Workshop.BOOT)) {
      Process replace =
          new ProcessBuilder(
                  CommandRun.command(
                      "replace",
                      "web1",
                      "--to",
                      "qemu-10.0",
                      "--state",
                      workspace.state().toString()))
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      Path file = workspace.files("web1").resolve("guest.properties");
      Workshop.await("a target that waits", START, () -> Workshop.contains(file, "waiting.pid"));
      killDaemon();
      replace.destroyForcibly().waitFor();
      assertThat(workspace.hypervisors()).hasSize(2);

      startDaemon();
      assertThat(workspace.hypervisors()).hasSize(1);
      assertThat(pid()).isEqualTo(source);
      // Nobody was there to see whether the guest stood.
      assertThat(show().path("clock_unmeasured").asInt()).isEqualTo(1);
      guest.awaitBeat(START);
      JsonNode moved = run("replace", "web1", "--to", "qemu-10.0", "--json").succeeds().json();
      assertThat(moved.path("outcome").asString()).isEqualTo("committed");
      assertThat(show().path("generation").asInt()).isEqualTo(3);
    }
  }

  private void startDaemon() throws Exception {
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start();
    daemons.add(daemon);
    // It answers before it has taken every guest back.
    Workshop.await(
        "a daemon that has taken everything back",
        START,
        () -> {
          CommandRun list = run("guest", "list", "--json");
          return list.code() == 0
              && list.json().path("guests").valueStream().noneMatch(TakeBackTest::recovers);
        });
  }

  private static boolean recovers(JsonNode guest) {
    return guest.path("state").asString().equals("recovering");
  }

  private void killDaemon() throws Exception {
    daemons.getLast().destroyForcibly().waitFor();
  }

  private JsonNode show() {
    return run("guest", "show", "web1", "--json").succeeds().json();
  }

  private int pid() {
    return show().path("pid").asInt();
  }

  private CommandRun run(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }
}
