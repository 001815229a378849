package dev.hyperfresh.cli;

import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;

/// `hyperfresh events`.
@Command(
    name = "events",
    description = "Follow what happens to guests and containers, one line each, until Ctrl-C.",
    footer = {
      "",
      "It continues when a newer daemon takes over.",
      "",
      "Examples:",
      "  hyperfresh events",
      "  hyperfresh events --json                       one JSON object per line",
      "  hyperfresh events --after 1l2m3n4o-17 --json   from where another one ended"
    })
final class EventsCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Option(
      names = "--after",
      paramLabel = "ID",
      description = "Start after this event instead of now; --json shows the ids.")
  private String after = "";

  @Override
  public void run() {
    new EventFeed(options::client, after, event -> event.map(this::told).orElse(true)).follow();
  }

  /// Whether anybody reads what is printed. Nobody does after the end of a pipe into `head`.
  private boolean told(JsonNode event) {
    if (!options.printed(event)) {
      String kind = text(event, "type");
      System.out.printf(
          "%s  %-17s  %s%n",
          text(event, "at").replaceFirst("\\..*", "Z"),
          kind,
          (text(event, "subject") + "  " + words(kind, event.path("data"))).strip());
    }
    return !System.out.checkError();
  }

  private static String words(String kind, JsonNode data) {
    return switch (kind) {
      case "guest.changed" ->
          (text(data, "state") + " on " + text(data, "release") + "  " + text(data, "detail"))
              .strip();
      case "guest.started" -> text(data, "why") + " on " + text(data, "release");
      case "guest.replaced" -> moved(data, "blackout_ms");
      case "container.changed" ->
          text(data, "state")
              + (data.has("health") ? ", " + text(data, "health") : "")
              + " in OS "
              + text(data, "os")
              + (data.has("ended") ? "  " + text(data, "ended") : "");
      case "container.moved" -> moved(data, "frozen_ms");
      case "machine.running", "os.running" ->
          text(data, "release") + " on " + text(data, "hardware");
      case "missed" -> "some events are no longer kept; the lists show the present state";
      default -> "";
    };
  }

  private static String moved(JsonNode data, String time) {
    JsonNode paused = data.path(time);
    return text(data, "from")
        + " → "
        + text(data, "to")
        + "  "
        + text(data, "outcome")
        + (paused.isNumber() ? String.format(Locale.ROOT, "  %.2f ms", paused.asDouble()) : "")
        + (data.has("problem") ? "  " + text(data, "problem") : "");
  }

  private static String text(JsonNode data, String field) {
    return data.path(field).asString("");
  }
}
