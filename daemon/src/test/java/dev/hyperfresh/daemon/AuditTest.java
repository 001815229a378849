package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AuditTest {
  @TempDir Path folder = Path.of("");

  @Test
  void theOldestAreForgottenAndRefusalsPushOutRefusalsOnly() {
    try (Audit audit = Audit.open(folder.resolve("history.db"), 5, 3)) {
      for (int i = 0; i < 20; i++) {
        audit.add(row("done" + i, "ok"));
      }
      for (int i = 0; i < 50; i++) {
        audit.add(row("refused" + i, Problem.API_ROLE.code()));
      }
      assertThat(audit.read(1000).stream().map(row -> row.get("object")))
          .containsExactly(
              "refused49",
              "refused48",
              "refused47",
              "done19",
              "done18",
              "done17",
              "done16",
              "done15");
    }
  }

  @Test
  void aTextIsKeptInPart() {
    try (Audit audit = Audit.open(folder.resolve("history.db"))) {
      audit.add(row("x".repeat(100_000) + "\n", "ok"));

      assertThat(String.valueOf(audit.read(1).getFirst().get("object"))).hasSize(301);
    }
  }

  private static Audit.Row row(String object, String outcome) {
    return new Audit.Row(
        Instant.EPOCH, 1, 1000, "ann", 7, "viewer", "GET /v1/guests", object, outcome, "");
  }
}
