package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.node.ObjectNode;

/// The daemon's events, followed from one daemon to the next.
final class EventFeed {
  /// How long there may be no daemon, while one gives way to another.
  private static final Duration PATIENCE = Duration.ofSeconds(10);

  private static final long LOOK_NANOS = 100_000_000;

  private final Supplier<Client> daemon;
  private final Listener listener;

  /// The last event that was heard, or empty.
  private String after;

  private final StringBuilder data = new StringBuilder();

  /// Of an event that has not come to its end yet.
  private String next = "";

  private boolean named;
  private boolean enough;

  /// Whether a daemon has answered at all.
  private boolean heard;

  private @Nullable HyperFreshException absent;

  /// Who hears of events.
  @FunctionalInterface
  interface Listener {
    /// Hears of an event, with its `id`; or, with none, that the daemon answers and will tell of
    /// all that happens from now on.
    ///
    /// @return whether to go on
    boolean hears(Optional<ObjectNode> event);
  }

  /// @param daemon connects to whichever there is now
  /// @param after the event after which to start; empty for now
  EventFeed(Supplier<Client> daemon, String after, Listener listener) {
    this.daemon = daemon;
    this.after = after;
    this.listener = listener;
  }

  /// Returns when the listener has heard enough.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_ABSENT] at once when there is none at the start,
  ///   and later when none has answered for a while
  void follow() {
    if (!followed() && !heard && absent != null) {
      throw absent;
    }
    long deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!enough && System.nanoTime() < deadline && !Thread.currentThread().isInterrupted()) {
      LockSupport.parkNanos(LOOK_NANOS);
      if (followed()) {
        deadline = System.nanoTime() + PATIENCE.toNanos();
      }
    }
    if (!enough) {
      throw absent == null ? Problem.DAEMON_ABSENT.because("It has ended.") : absent;
    }
  }

  private boolean followed() {
    try {
      follow(daemon.get());
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
    named = false;
    client.lines("/v1/events", after.isEmpty() ? Map.of() : Map.of("after", after), this::line);
  }

  /// One line of the stream, as the standard of server-sent events has it.
  ///
  /// @return whether to go on
  private boolean line(String line) {
    int colon = line.indexOf(':');
    if (line.isEmpty()) {
      end();
    } else if (colon > 0) {
      String value = line.substring(colon + 1).strip();
      switch (line.substring(0, colon)) {
        case "id" -> {
          next = value;
          named = true;
        }
        case "data" -> data.append(value);
        default -> {}
      }
    }
    return !enough;
  }

  /// Only now is an event whole: whoever comes back asks for what follows it.
  private void end() {
    heard = true;
    after = next;
    if (!data.isEmpty()) {
      ObjectNode event = Output.JSON.createObjectNode().put("id", after);
      Output.JSON
          .readTree(data.toString())
          .propertyStream()
          .forEach(field -> event.set(field.getKey(), field.getValue()));
      enough = !listener.hears(Optional.of(event));
    } else if (named) {
      enough = !listener.hears(Optional.empty());
    }
    data.setLength(0);
    named = false;
  }
}
