package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.qemu.QemuReleases;
import dev.hyperfresh.release.DebianPackages;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/// What is removed and what is kept, of four builds of one version.
@Timeout(30)
class ReleaseKindsTest {
  private static final String FIRST = "qemu-10.0.2";
  private static final String SECOND = "qemu-10.0.2+deb13u1";
  private static final String THIRD = "qemu-10.0.2+deb13u2";
  private static final String NEWEST = "qemu-10.0.2+deb13u10";

  @TempDir Path folder;
  private final ReleaseLeases leases = new ReleaseLeases();
  private final Map<String, List<String>> users = new HashMap<>();
  private final List<String> told = new ArrayList<>();
  private ReleaseKinds kinds;

  @BeforeEach
  void install() {
    Path releases = folder.resolve("releases");
    Installed.add(releases, Installed.qemu("10.0.2"));
    for (String build : List.of(THIRD, NEWEST, SECOND)) {
      Installed.add(
          releases, Installed.build(build, "1:10.0.2+ds-2" + build.substring(FIRST.length())));
    }
    Events events = new Events();
    events.add(event -> told.add(event.type() + " " + event.subject()));
    kinds =
        new ReleaseKinds(
            List.of(
                new ProcessReleases(
                    new QemuReleases(releases, new DebianPackages(folder.resolve("apt"))),
                    full -> users.getOrDefault(full, List.of()))),
            leases,
            events);
  }

  @Test
  void buildsThatNobodyUsesArePruned() {
    users.put(SECOND, List.of("runs web1"));
    try (var _ = leases.hold(() -> THIRD, Function.identity())) {
      ReleaseKinds.Pruned pruned = kinds.prune(0, false);

      assertThat(pruned.removed()).containsExactly(FIRST);
      assertThat(pruned.kept())
          .containsExactly(
              Map.entry(SECOND, SECOND + " runs web1."),
              Map.entry(THIRD, "Something is being started on " + THIRD + "."),
              Map.entry(NEWEST, "It is the newest build of 10.0.2."));
    }
    assertThat(kinds.names()).containsExactly(SECOND, THIRD, NEWEST);
    assertThat(told).containsExactly("release.removed " + FIRST);
  }

  @Test
  void aDryRunSaysTheSameAndRemovesNothing() {
    users.put(SECOND, List.of("runs web1"));

    ReleaseKinds.Pruned pruned = kinds.prune(0, true);

    assertThat(pruned.removed()).containsExactly(FIRST, THIRD);
    assertThat(pruned.kept()).containsOnlyKeys(SECOND, NEWEST);
    assertThat(kinds.names()).hasSize(4);
    assertThat(told).isEmpty();
  }

  @Test
  void whatWasInstalledLatelyIsKept() {
    ReleaseKinds.Pruned pruned = kinds.prune(30, false);

    assertThat(pruned.removed()).isEmpty();
    assertThat(pruned.kept()).containsEntry(FIRST, "It was installed less than 30 days ago.");
  }

  @Test
  void aBuildThatIsUsedIsNotRemovedByAnyOfItsNames() {
    users.put(NEWEST, List.of("runs web1, web2"));

    for (String name : List.of(NEWEST, "qemu-10.0", "latest")) {
      assertThatThrownBy(() -> kinds.remove(name))
          .isInstanceOfSatisfying(
              HyperFreshException.class,
              e -> assertThat(e.problem()).isEqualTo(Problem.RELEASE_IN_USE))
          .hasMessageContaining(NEWEST + " runs web1, web2.");
    }
    kinds.remove(FIRST);
    assertThat(kinds.names()).containsExactly(SECOND, THIRD, NEWEST);
  }

  @Test
  void theApiPrunes() throws Exception {
    DaemonConfig config = DaemonConfig.under(folder.resolve("state"));
    Installed.add(config.releases(), Installed.build(SECOND, "1:10.0.2+ds-2+deb13u1"));
    Installed.add(config.releases(), Installed.build(THIRD, "1:10.0.2+ds-2+deb13u2"));
    try (Daemon daemon = Daemon.start(config)) {
      RawHttp api = new RawHttp(daemon.config().socket());

      assertThat(api.post("/v1/prunings", "{}").json().path("removed")).isEmpty();
      JsonNode dry = api.post("/v1/prunings", "{\"days\": 0, \"dry_run\": true}").json();
      assertThat(dry.path("removed").path(0).asString()).isEqualTo(SECOND);
      assertThat(dry.path("dry_run").asBoolean()).isTrue();
      assertThat(api.get("/v1/releases").json().path("releases")).hasSize(2);
      assertThat(api.post("/v1/prunings", "{\"days\": 0}").json().path("removed")).hasSize(1);
      assertThat(api.get("/v1/releases").json().path("releases")).hasSize(1);
      assertThat(api.post("/v1/prunings", "{\"days\": -1}").json().path("code").asString())
          .isEqualTo(Problem.API_REQUEST.code());
    }
  }
}
