package dev.hyperfresh.cli;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;

/// `hyperfresh audit`.
@Command(
    name = "audit",
    description = "List who changed what or was refused, newest first. For administrators.",
    footer = {"", "Examples:", "  hyperfresh audit", "  hyperfresh audit --limit 10 --json"})
final class AuditCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Option(
      names = "--limit",
      paramLabel = "N",
      defaultValue = "50",
      description = "How many at most, 1 to 1000 (default: ${DEFAULT-VALUE}).")
  private int limit;

  @Override
  public void run() {
    JsonNode answer = options.client().get("/v1/audit", Map.of("limit", Integer.toString(limit)));
    if (options.printed(answer)) {
      return;
    }
    Output.table(
        List.of("TIME", "USER", "PID", "ROLE", "WHAT", "OBJECT", "OUTCOME", "TOOK"),
        answer.path("actions").valueStream().map(AuditCommand::row).toList());
  }

  private static List<String> row(JsonNode r) {
    return List.of(
        r.path("at").asString().replaceFirst("\\..*", "Z"),
        r.path("user").asString(),
        r.path("pid").asString(),
        r.path("role").asString(),
        r.path("what").asString(),
        r.path("object").asString(),
        r.path("outcome").asString(),
        String.format(Locale.ROOT, "%.1f ms", r.path("duration_ms").asDouble()));
  }
}
