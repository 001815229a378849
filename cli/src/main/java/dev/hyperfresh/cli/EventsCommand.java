package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

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
  /// How long there may be no daemon, while one gives way to another.
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final long LOOK_NANOS = 100_000_000;

  @Mixin private Options options = new Options();

  @Option(
      names = "--after",
      paramLabel = "ID",
      description = "Start after this event instead of now; --json shows the ids.")
  private String after = "";

  private final StringBuilder data = new StringBuilder();

  /// Of an event that has not come to its end yet.
  private String next = "";

  /// Whether nobody reads what is printed any more.
  private boolean unread;

  private @Nullable HyperFreshException absent;

  @Override
  public void run() {
    follow(options.client());
    if (unread) {
      return;
    }
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (System.nanoTime() < deadline && !Thread.currentThread().isInterrupted()) {
      LockSupport.parkNanos(LOOK_NANOS);
      if (followed()) {
        if (unread) {
          return;
        }
        deadline = System.nanoTime() + PATIENCE.toNanos();
      }
    }
    throw absent == null ? Problem.DAEMON_ABSENT.because("It has ended.") : absent;
  }

  private boolean followed() {
    try {
      follow(options.client());
      return true;
    } catch (HyperFreshException e) {
      if (e.problem() != Problem.DAEMON_ABSENT) {
        throw e;
      }
      absent = e;
      return false;
    }
  }

  private void follow(Client client) {
    data.setLength(0);
    next = after;
    client.lines("/v1/events", after.isEmpty() ? Map.of() : Map.of("after", after), this::line);
  }

  /// One line of the stream, as the standard of server-sent events has it.
  ///
  /// @return whether to go on
  private boolean line(String line) {
    int colon = line.indexOf(':');
    if (line.isEmpty()) {
      // Only now is the event whole: whoever comes back asks for what follows it.
      after = next;
      if (!data.isEmpty()) {
        print(Output.JSON.readTree(data.toString()));
      }
      data.setLength(0);
    } else if (colon > 0) {
      String value = line.substring(colon + 1).strip();
      switch (line.substring(0, colon)) {
        case "id" -> next = value;
        case "data" -> data.append(value);
        default -> {}
      }
    }
    return !unread;
  }

  private void print(JsonNode event) {
    if (options.json()) {
      ObjectNode json = Output.JSON.createObjectNode();
      json.put("id", after);
      event.propertyStream().forEach(field -> json.set(field.getKey(), field.getValue()));
      Output.json(json);
    } else {
      String kind = text(event, "type");
      System.out.printf(
          "%s  %-17s  %s%n",
          text(event, "at").replaceFirst("\\..*", "Z"),
          kind,
          (text(event, "subject") + "  " + words(kind, event.path("data"))).strip());
    }
    // Such as the end of a pipe into `head`.
    unread = System.out.checkError();
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
