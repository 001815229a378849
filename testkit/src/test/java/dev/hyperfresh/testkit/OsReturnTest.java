package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Host;
import dev.hyperfresh.relocation.OsRelease;
import dev.hyperfresh.vm.StateFile;
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
import tools.jackson.databind.node.ObjectNode;

/// A real OS is there again after a boot of the host, and its container in it.
@Tag("slow")
class OsReturnTest {
  private static final Duration START = Duration.ofMinutes(4);

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();

  @BeforeEach
  void prepare() throws Exception {
    OsRelease release = OsDaemon.release("6.12");
    Path releases = new TestReleases(workspace.state().resolve("releases")).folder();
    // The release itself stays in the cache; only its description is copied.
    Path home = Files.createDirectories(releases.resolve(release.name()));
    Files.copy(
        Workshop.CACHE.resolve("releases").resolve(release.name()).resolve("os.json"),
        home.resolve("os.json"));
    startDaemon();
    run("os", "create", "os1", "--release", "os-6.12", "--memory", "256M").succeeds();
  }

  @AfterEach
  void end() throws Exception {
    run("os", "delete", "os1", "--force");
    for (Process daemon : daemons) {
      daemon.destroyForcibly().waitFor();
    }
  }

  @Test
  void aBootOfTheHostBringsItBackWithItsContainer() throws Exception {
    Path bundle =
        new JobBundle(workspace.state().resolve("bundles"))
            .build("job1", 0, "append", "/data/runs");
    run(
            "container",
            "run",
            "job1",
            "--os=os1",
            "--bundle=" + bundle,
            "--restart=always",
            "--volume=data:/data")
        .succeeds();
    // It is launched, and has not done anything yet.
    Workshop.await("its first run", START, () -> runs() == 1);
    runs("job2", bundle);
    runs("job3", bundle);
    run("container", "stop", "job3").succeeds();
    run("container", "stop", "job2", "job3", "--until-boot").succeeds();
    daemons.getLast().destroyForcibly().waitFor();
    int pid = hostEnds();

    startDaemon();

    JsonNode before = show("container", "job1");
    assertThat(before.path("state").asString()).isEqualTo("ended");
    assertThat(before.path("ended").asString()).contains("the host has booted since");
    Workshop.await("the OS", START, () -> is("running", show("os", "os1")));
    Workshop.await("its container", START, () -> is("running", show("container", "job1")));
    assertThat(show("os", "os1").path("pid").asInt()).isNotEqualTo(pid);
    assertThat(show("os", "os1").path("containers").path(0).asString()).isEqualTo("job1");
    assertThat(show("container", "job1").path("os").asString()).isEqualTo("os1");
    Workshop.await("its second run", START, () -> runs() >= 2);
    Workshop.await("what ended", START, () -> is("running", show("container", "job2")));
    // Somebody has stopped it before the host did.
    assertThat(show("container", "job3").path("state").asString()).isEqualTo("ended");
  }

  private void runs(String name, Path bundle) throws Exception {
    run(
            "container",
            "run",
            name,
            "--os=os1",
            "--bundle=" + bundle,
            "--restart=on-failure",
            "--volume=" + name + ":/data")
        .succeeds();
  }

  /// How often it has run: each time it writes a line into its volume.
  private long runs() {
    JsonNode volumes = run("volume", "list", "--json").succeeds().json().path("volumes");
    String data =
        volumes
            .valueStream()
            .filter(volume -> volume.path("name").asString().equals("data"))
            .map(volume -> volume.path("path").asString())
            .findFirst()
            .orElseThrow();
    Path file = Path.of(data).resolve("runs");
    return Workshop.wholeLines(file).size();
  }

  /// As when the host is switched off: what runs is gone, and what is written down is of an earlier
  /// boot.
  private int hostEnds() throws IOException {
    Path folder = workspace.state().resolve("os/os1");
    ObjectNode vm =
        StateFile.readWithSum(folder.resolve("vm.json"), ObjectNode.class).orElseThrow();
    int pid = vm.path("process").path("pid").asInt();
    try (var servers = Files.list(folder.resolve("files"))) {
      for (Path server : servers.toList()) {
        Injection.kill(inEarlierBoot(server));
      }
    }
    Injection.kill(inEarlierBoot(folder.resolve("vm.json")));
    Path stopped = workspace.state().resolve("lives/job2.json");
    ObjectNode life = StateFile.read(stopped, ObjectNode.class).orElseThrow();
    assertThat(life.path("stoppedIn").asString()).isEqualTo(Host.bootId());
    StateFile.write(stopped, life.put("stoppedIn", "an-earlier-one"));
    ObjectNode made =
        StateFile.readWithSum(folder.resolve("definition.json"), ObjectNode.class).orElseThrow();
    StateFile.write(folder.resolve("definition.json"), made.put("boot", "an-earlier-one"));
    return pid;
  }

  private static int inEarlierBoot(Path file) {
    ObjectNode content = StateFile.read(file, ObjectNode.class).orElseThrow();
    ((ObjectNode) content.path("process")).put("boot", "an-earlier-one");
    StateFile.write(file, content);
    return content.path("process").path("pid").asInt();
  }

  private static boolean is(String state, JsonNode shown) {
    return shown.path("state").asString().equals(state);
  }

  private void startDaemon() throws Exception {
    Process daemon =
        new ProcessBuilder(CommandRun.command("daemon", "--state", workspace.state().toString()))
            .redirectErrorStream(true)
            .redirectOutput(
                ProcessBuilder.Redirect.appendTo(workspace.state().resolve("daemon.log").toFile()))
            .start();
    daemons.add(daemon);
    Workshop.await("a daemon", START, () -> run("os", "list").code() == 0);
  }

  private JsonNode show(String what, String name) {
    return run(what, "show", name, "--json").succeeds().json();
  }

  private CommandRun run(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.add("--state");
    line.add(workspace.state().toString());
    return CommandRun.here(line.toArray(String[]::new));
  }
}
