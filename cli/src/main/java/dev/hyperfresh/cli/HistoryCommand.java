package dev.hyperfresh.cli;

import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh history`.
@Command(
    name = "history",
    description = "List past replacements, or moves of containers, newest first.",
    footer = {
      "",
      "Examples:",
      "  hyperfresh history",
      "  hyperfresh history web1 --limit 5 --json",
      "  hyperfresh history --containers                moves of all containers",
      "  hyperfresh history --containers web1           moves of one"
    })
final class HistoryCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Parameters(
      paramLabel = "NAME",
      arity = "0..1",
      description = "Only those of this guest or container.")
  private String name = "";

  @Option(names = "--containers", description = "Moves of containers.")
  private boolean containers;

  @Option(
      names = "--limit",
      paramLabel = "N",
      defaultValue = "50",
      description = "How many at most, 1 to 1000 (default: ${DEFAULT-VALUE}).")
  private int limit;

  @Override
  public void run() {
    Map<String, String> query = new HashMap<>(Map.of("limit", Integer.toString(limit)));
    if (containers) {
      query.put("container", name.isEmpty() ? "*" : name);
    } else if (!name.isEmpty()) {
      query.put("guest", name);
    }
    JsonNode answer = options.client().get("/v1/history", query);
    if (options.printed(answer)) {
      return;
    }
    if (containers) {
      Output.table(
          List.of("TIME", "CONTAINER", "FROM", "TO", "KERNEL", "PAUSED", "OUTCOME"),
          answer.path("relocations").valueStream().map(HistoryCommand::move).toList());
      return;
    }
    Output.table(
        List.of(
            "TIME", "GUEST", "FROM", "TO", "ACCELERATOR", "HEARTBEAT GAP", "BLACKOUT", "OUTCOME"),
        answer.path("replacements").valueStream().map(HistoryCommand::row).toList());
  }

  private static List<String> row(JsonNode r) {
    return List.of(
        r.path("started_at").asString().replaceFirst("\\..*", "Z"),
        r.path("guest").asString(),
        r.path("from").asString(),
        r.path("to").asString(),
        r.path("accelerator").asString(),
        millis(r.path("guest_gap_ms")),
        millis(r.path("blackout_ms")),
        (r.path("outcome").asString() + " " + r.path("problem").asString("")).strip());
  }

  private static List<String> move(JsonNode r) {
    return List.of(
        r.path("started_at").asString().replaceFirst("\\..*", "Z"),
        r.path("container").asString(),
        r.path("from").asString(),
        r.path("to").asString(),
        r.path("kernel_to").asString(),
        millis(r.path("frozen_ms")),
        (r.path("outcome").asString() + " " + r.path("problem").asString("")).strip());
  }

  private static String millis(JsonNode value) {
    return value.isNumber() ? String.format(Locale.ROOT, "%.2f ms", value.asDouble()) : "-";
  }
}
