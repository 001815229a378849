package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

/// Every error of the catalogue is one that a test meets; those that no other test meets as a user
/// does are met here.
class CatalogueTest {
  private static final Duration START = Duration.ofMinutes(3);

  /// Tests of the catalogue itself, and stand-ins that throw what they are told to.
  private static final List<String> NO_PROOF =
      List.of(
          "ProblemTest.java",
          "DocumentationTest.java",
          "Stage.java",
          "SimulatedDaemon.java",
          "SimulatedFaults.java",
          "SimulatedHypervisor.java",
          "SimulatedInstance.java",
          "ToyHypervisor.java",
          "ToyInstance.java",
          "ToyReleases.java");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  private final List<Process> daemons = new ArrayList<>();

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
  void everyErrorIsExpectedByATest() throws IOException {
    List<String> tests = testSources();
    assertThat(tests).as("sources of tests").hasSizeGreaterThan(40);
    assertThat(Arrays.stream(Problem.values()).filter(problem -> !isExpected(problem, tests)))
        .as("errors that no test expects")
        .isEmpty();
  }

  private static boolean isExpected(Problem problem, List<String> tests) {
    return tests.stream()
        .anyMatch(
            test -> test.contains("Problem." + problem.name()) || test.contains(problem.code()));
  }

  private static List<String> testSources() throws IOException {
    try (Stream<Path> files = Files.walk(Path.of("").toAbsolutePath().resolveSibling(""))) {
      return files
          .filter(file -> file.toString().matches(".*/src/test/java/.*\\.java"))
          .filter(file -> !NO_PROOF.contains(String.valueOf(file.getFileName())))
          .map(CatalogueTest::text)
          .toList();
    }
  }

  private static String text(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  @Tag("slow")
  void aDaemonThatMayNotMakeTapsSaysSo() throws Exception {
    Workshop.require(Host.effectiveUid() == 0, "dropping a capability needs root");
    Workshop.require(Files.exists(Path.of("/dev/net/tun")), "there is no /dev/net/tun");
    var _ = new TestReleases(workspace.state().resolve("releases"));
    startDaemon("setpriv", "--bounding-set=-net_admin", "--inh-caps=-all");
    create("nics: [{mac: '52:54:00:12:34:56'}]").fails(Problem.HOST_PERMISSION, "EPERM");
    assertThat(hyperfresh("guest", "list", "--json").succeeds().json().path("guests")).isEmpty();
  }

  @Test
  @Tag("slow")
  void aReleaseThatDoesNotStartAGuestSaysWhy() throws Exception {
    TestReleases releases = new TestReleases(workspace.state().resolve("releases"));
    QemuRelease mute =
        releases.script(
            "qemu-90.0.0", Workshop.release("qemu-10.0"), "echo 'no such board' >&2; exit 1");
    startDaemon();
    create("release: " + mute.name()).fails(Problem.GUEST_START, "no such board");
    assertThat(workspace.hypervisors()).isEmpty();
    QemuRelease known = Workshop.release("qemu-7.2");
    QemuRelease again =
        releases.script(
            "qemu-91.0.0",
            known,
            "LD_LIBRARY_PATH="
                + String.join(":", known.libraries().stream().map(Path::toString).toList())
                + " exec REAL \"$@\"");
    // It is a build of its own, which can be there once.
    hyperfresh("release", "add", again.binary().toString()).succeeds();
    hyperfresh("release", "add", again.binary().toString())
        .fails(Problem.RELEASE_NAME, "installed already");
  }

  private CommandRun create(String line) throws Exception {
    Path spec =
        Files.writeString(
            workspace.state().resolve("web1.yaml"),
            "name: web1\nmemory: 64M\nkernel: " + Workshop.images().tick() + "\n" + line + "\n");
    return hyperfresh("guest", "create", "-f", spec.toString());
  }

  private CommandRun hyperfresh(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.addAll(List.of("--state", workspace.state().toString()));
    return CommandRun.here(line.toArray(String[]::new));
  }

  private void startDaemon(String... prefix) throws Exception {
    List<String> line = new ArrayList<>(List.of(prefix));
    line.addAll(CommandRun.command("daemon", "--state", workspace.state().toString()));
    daemons.add(
        new ProcessBuilder(line)
            .redirectErrorStream(true)
            .redirectOutput(workspace.state().resolve("daemon.log").toFile())
            .start());
    Workshop.await(
        "a daemon that answers",
        START,
        () -> {
          try {
            return hyperfresh("guest", "list").code() == 0;
          } catch (Exception e) {
            throw new AssertionError(e);
          }
        });
  }
}
