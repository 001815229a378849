package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.daemon.Daemon;
import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.qemu.QemuRelease;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// Real QEMUs on a host whose QEMU is upgraded: one that was started by hand, and one of ours.
@Tag("slow")
class OutdatedTest {
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");
  private static final int SOME_OUTDATED = 8;

  @RegisterExtension final Workspace workspace = Workspace.ofTest();
  private TestReleases releases;

  @BeforeEach
  void prepare() throws IOException {
    releases = new TestReleases(workspace.state().resolve("releases"));
  }

  @Test
  void aQemuThatWasStartedByHandIsFollowedThroughAnUpgrade() throws Exception {
    Path binary = workspace.state().resolve("bin/qemu-system-x86_64");
    Files.createDirectories(binary.resolveSibling(""));
    install(OLD, binary);
    try (OwnQemu own =
        OwnQemu.start(
            at(OLD, OLD.name(), binary),
            workspace.state(),
            List.of(),
            "-name",
            "guest=by-hand",
            "-m",
            "64")) {
      JsonNode before = outdated(own.pid());
      assertThat(before.path("name").asString()).isEqualTo("by-hand");
      assertThat(before.path("manager").asString()).isEqualTo("other");
      assertThat(before.path("state").asString()).isEqualTo("current");
      assertThat(before.path("running").path("version").asString()).isEqualTo(OLD.version());
      assertThat(before.path("replaceable").asBoolean()).isTrue();
      assertThat(before.path("verdict").asString()).contains("memory is private", "--copy");

      install(NEW, binary);
      JsonNode after = outdated(own.pid());
      assertThat(after.path("state").asString()).isEqualTo("outdated");
      assertThat(after.path("file").asString()).isEqualTo("replaced");
      assertThat(after.path("running")).isEqualTo(before.path("running"));
      assertThat(after.path("installed").path("version").asString()).isEqualTo(NEW.version());
      CommandRun text = hyperfresh("outdated");
      assertThat(text.code()).isEqualTo(SOME_OUTDATED);
      assertThat(text.out()).contains("by-hand", "outdated", OLD.version(), NEW.version());

      Files.delete(binary);
      assertThat(outdated(own.pid()).path("state").asString()).isEqualTo("removed");
      own.assertRunning();
    }
  }

  @Test
  void oneOfOursIsOutdatedWhenANewerReleaseOfItsSeriesIsInstalled() throws Exception {
    try (Daemon _ =
        Daemon.start(
            new DaemonConfig(
                workspace.state(), releases.folder(), Workshop.CACHE.resolve("apt")))) {
      Path spec =
          Files.writeString(
              workspace.state().resolve("web1.yaml"),
              "name: web1\nmemory: 64M\nmachine: pc-q35-7.2\naccelerator: tcg\nrelease: qemu-7.2\n"
                  + "kernel: "
                  + Workshop.images().tick()
                  + "\n");
      hyperfresh("guest", "create", "-f", spec.toString()).succeeds();
      int pid = hyperfresh("guest", "show", "web1", "--json").json().path("pid").asInt();
      JsonNode before = outdated(pid);
      assertThat(before.path("name").asString()).isEqualTo("web1");
      assertThat(before.path("manager").asString()).isEqualTo("hyperfresh");
      assertThat(before.path("release").asString()).isEqualTo(OLD.name());
      assertThat(before.path("state").asString()).isEqualTo("current");

      describe(at(OLD, "qemu-7.2.99", OLD.binary()));
      JsonNode after = outdated(pid);
      assertThat(after.path("state").asString()).isEqualTo("outdated");
      assertThat(after.path("replaceable").asBoolean()).isTrue();
      assertThat(after.path("verdict").asString())
          .isEqualTo("`hyperfresh replace web1 --to qemu-7.2.99` replaces it.");
      hyperfresh("guest", "stop", "web1", "--patience", "0").succeeds();
      hyperfresh("guest", "delete", "web1").succeeds();
    }
  }

  /// As a package manager does.
  private static void install(QemuRelease release, Path binary) throws IOException {
    Path staged = binary.resolveSibling("staged");
    Files.copy(release.binary(), staged, StandardCopyOption.COPY_ATTRIBUTES);
    Files.move(staged, binary, StandardCopyOption.ATOMIC_MOVE);
  }

  /// The same build under another name and path.
  private static QemuRelease at(QemuRelease release, String name, Path binary) {
    return new QemuRelease(
        name,
        name.replace("qemu-", ""),
        binary,
        release.arguments(),
        release.libraries(),
        release.sha256(),
        release.machines(),
        release.cpus(),
        release.capabilities(),
        "a test");
  }

  private void describe(QemuRelease release) throws IOException {
    Path home = Files.createDirectories(releases.folder().resolve(release.name()));
    Files.write(home.resolve("release.json"), JsonMapper.shared().writeValueAsBytes(release));
  }

  private JsonNode outdated(int pid) {
    return hyperfresh("outdated", "--json")
        .json()
        .path("qemus")
        .valueStream()
        .filter(qemu -> qemu.path("pid").asInt() == pid)
        .findFirst()
        .orElseThrow();
  }

  private CommandRun hyperfresh(String... arguments) {
    List<String> line = new ArrayList<>(List.of(arguments));
    line.addAll(List.of("--state", workspace.state().toString()));
    return CommandRun.here(line.toArray(String[]::new));
  }
}
