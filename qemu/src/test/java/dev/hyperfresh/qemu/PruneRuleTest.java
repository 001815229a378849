package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PruneRuleTest {
  private static final Instant NOW = Instant.parse("2026-03-01T12:00:00Z");
  private static final PruneRule RULE = new PruneRule(NOW.minus(Duration.ofDays(30)), 30);

  private static PruneRule.Candidate build(String name, int days, boolean hosts) {
    QemuRelease release =
        new QemuRelease(
            name,
            name.replaceFirst("qemu-([0-9.]+).*", "$1"),
            Path.of("/q"),
            List.of(),
            List.of(),
            "00",
            Set.of(),
            Set.of(),
            Set.of(),
            "a test");
    return new PruneRule.Candidate(release, NOW.minus(Duration.ofDays(days)), hosts);
  }

  @Test
  void olderBuildsOfAVersionMayGo() {
    assertThat(
            RULE.of(
                List.of(
                    build("qemu-7.2.22", 400, false),
                    build("qemu-10.0.2+deb13u1", 90, false),
                    build("qemu-10.0.2+deb13u2", 60, true),
                    build("qemu-10.0.2+deb13u3", 31, false),
                    build("qemu-10.0.2+deb13u4", 30, false),
                    build("qemu-10.0.2+deb13u5", 200, false))))
        .containsExactly(
            new PruneRule.Verdict("qemu-7.2.22", "It is the newest build of 7.2.22."),
            new PruneRule.Verdict("qemu-10.0.2+deb13u1", ""),
            new PruneRule.Verdict("qemu-10.0.2+deb13u2", "It is this host's own now."),
            new PruneRule.Verdict("qemu-10.0.2+deb13u3", ""),
            new PruneRule.Verdict("qemu-10.0.2+deb13u4", "It was installed less than 30 days ago."),
            new PruneRule.Verdict("qemu-10.0.2+deb13u5", "It is the newest build of 10.0.2."));
  }

  @Test
  void whereNothingIsNothingGoes() {
    assertThat(RULE.of(List.of())).isEmpty();
  }
}
