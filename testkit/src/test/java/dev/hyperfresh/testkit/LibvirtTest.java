package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuRelease;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import tools.jackson.databind.JsonNode;

/// QEMU is replaced under domains of a real libvirt, which has them before and after.
@Tag("slow")
@Timeout(600)
class LibvirtTest {
  private static final Duration PATIENCE = Duration.ofMinutes(3);
  private static final String SHARED = "<source type='memfd'/><access mode='shared'/>";
  private static final QemuRelease OLD = Workshop.release("qemu-7.2");
  private static final QemuRelease NEW = Workshop.release("qemu-10.0");

  @RegisterExtension final Workspace workspace = Workspace.ofTest();

  @Test
  void domainsMoveThereAndBackAndStayLibvirts() throws Exception {
    var _ = new TestReleases(workspace.state().resolve("releases"));
    try (LibvirtStage stage = LibvirtStage.open(workspace.state(), OLD)) {
      stage.startLibvirt();
      stage.start("web1", SHARED);
      stage.start("db 1", "");
      Process daemon = stage.startDaemon();
      String before = stage.virsh("dumpxml", "web1");
      String screen = stage.virsh("vncdisplay", "web1");

      predicts(stage);
      moves(stage, NEW, "web1", "db 1");
      assertThat(comparable(stage.virsh("dumpxml", "web1"))).isEqualTo(comparable(before));
      assertThat(stage.virsh("vncdisplay", "web1")).isEqualTo(screen);
      // Its memory can be mapped from now on.
      moves(stage, OLD, "web1", "db 1");
      QemuRelease next = bearsWhoeverStartsLibvirt(stage) ? OLD : NEW;
      daemon = comesBackAfterADeath(stage, daemon, next);
      assertThat(stage.virsh("vncdisplay", "web1")).isEqualTo(screen);

      stage.virsh("destroy", "web1");
      stage.virsh("destroy", "db 1");
      assertThat(stage.virsh("list", "--name")).isEmpty();
      assertThat(stage.hyperfresh("guest", "list", "--json").succeeds().json().path("guests"))
          .isEmpty();
      daemon.destroy();
      daemon.waitFor();
    }
  }

  private static void predicts(LibvirtStage stage) throws Exception {
    int pid = stage.pid("web1");
    int libvirt = stage.libvirt();
    CommandRun run =
        stage
            .hyperfresh("replace", "--libvirt", "--all", "--to", "qemu-10.0", "--dry-run", "--json")
            .succeeds();
    JsonNode domains = run.json().path("guests");
    assertThat(domains.valueStream().map(domain -> domain.path("outcome").asString()))
        .containsOnly("movable")
        .hasSize(2);
    assertThat(domains.path(0).path("guest").asString()).isEqualTo("db 1");
    assertThat(domains.path(0).path("detail").asString()).contains("is copied once");
    assertThat(domains.path(1).path("detail").asString()).doesNotContain("copied");
    assertThat(run.json().path("service").asString()).startsWith("libvirtd (process ");
    stage
        .hyperfresh("replace", "--libvirt", "nobody", "--to", "qemu-10.0")
        .fails(Problem.LIBVIRT_UNKNOWN, "'nobody'");
    assertThat(stage.pid("web1")).isEqualTo(pid);
    assertThat(stage.libvirt()).isEqualTo(libvirt);
  }

  private static void moves(LibvirtStage stage, QemuRelease to, String... names) throws Exception {
    int before = stage.pid("web1");
    CommandRun run =
        stage
            .hyperfresh(
                "replace",
                "--libvirt",
                "--all",
                "--to",
                to.name(),
                "--max-blackout",
                "20000",
                "--json")
            .succeeds();
    System.out.println(
        "  libvirt was away for " + run.json().path("away_ms") + " ms: " + to.name());
    assertThat(run.json().path("stopped").asString()).as(run.toString()).isEmpty();
    assertThat(stage.pid("web1")).isNotEqualTo(before);
    for (String name : names) {
      assertThat(stage.virsh("domstate", name)).isEqualTo("running");
      assertThat(stage.virsh("qemu-monitor-command", name, "--hmp", "info version"))
          .contains(to.version());
      stage.virsh("suspend", name);
      assertThat(stage.virsh("domstate", name)).isEqualTo("paused");
      stage.virsh("resume", name);
      assertThat(stage.virsh("domstate", name)).isEqualTo("running");
      assertThat(Path.of(stage.virsh("ttyconsole", name))).exists();
    }
    JsonNode again =
        stage
            .hyperfresh("replace", "--libvirt", "web1", "--to", to.name(), "--json")
            .succeeds()
            .json();
    assertThat(again.path("guests").path(0).path("outcome").asString()).isEqualTo("there");
    assertThat(again.has("away_ms")).isFalse();
  }

  /// The lines of a definition, without what may be another after a move. libvirt orders
  /// controllers anew whenever it reads its own file.
  private static List<String> comparable(String xml) {
    return xml.replaceAll("/dev/pts/[0-9]+", "/dev/pts/N")
        .replaceAll("<emulator>[^<]*</emulator>", "<emulator/>")
        .lines()
        .map(String::strip)
        .sorted()
        .toList();
  }

  private Path record() {
    return workspace.state().resolve("libvirt-down.json");
  }

  /// Begins to move the first domain, and comes when libvirt must not see it.
  private Process between(LibvirtStage stage, QemuRelease to) throws Exception {
    Process request =
        stage.begin("replace", "--libvirt", "web1", "--to", to.name(), "--max-blackout", "20000");
    Workshop.await(
        "a domain that is between",
        PATIENCE,
        () -> Workshop.contains(record(), "\"domain\":\"web1\"") || !request.isAlive());
    return request;
  }

  /// It ends by itself before it has looked at a domain. The move may be given up because of it.
  ///
  /// @return whether the domain was moved
  private boolean bearsWhoeverStartsLibvirt(LibvirtStage stage) throws Exception {
    int before = stage.pid("web1");
    Process request = between(stage, NEW);
    CommandRun other = stage.startAnotherLibvirt();
    assertThat(other.err()).contains("/run/libvirt/qemu/driver.pid");

    request.waitFor();
    Workshop.await("libvirt again", Duration.ofSeconds(20), () -> !Files.exists(record()));
    for (String name : List.of("web1", "db 1")) {
      assertThat(stage.virsh("domstate", name)).isEqualTo("running");
    }
    boolean moved = stage.pid("web1") != before;
    System.out.println("  libvirt was started meanwhile, and web1 " + (moved ? "moved" : "stayed"));
    return moved;
  }

  private Process comesBackAfterADeath(LibvirtStage stage, Process daemon, QemuRelease to)
      throws Exception {
    int before = stage.pid("web1");
    Path record = record();
    Process request = between(stage, to);
    daemon.destroyForcibly().waitFor();
    assertThat(record).exists();

    Process next = stage.startDaemon();
    Workshop.await("libvirt again", PATIENCE, () -> !Files.exists(record));
    assertThat(stage.virsh("domstate", "web1")).isEqualTo("running");
    assertThat(stage.virsh("domstate", "db 1")).isEqualTo("running");
    assertThat(ProcessHandle.of(stage.pid("web1"))).isPresent();
    assertThat(request.waitFor()).isNotZero();
    System.out.println(
        "  after a death the domain is in "
            + (stage.pid("web1") == before ? "its old process" : "its new process"));
    return next;
  }
}
