package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.GET;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import io.helidon.http.HeaderNames;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/// `/v1/events`, server-sent events as HTML has them, and `/metrics`, as Prometheus has them.
///
/// @param stream what is followed
/// @param metrics what is counted
/// @param replies how requests are answered
/// @param following clients that follow the events
record EventRoutes(EventStream stream, Metrics metrics, Replies replies, UserQuota following) {
  /// How many clients of a user may follow the events at a time. Each has two threads.
  private static final int MOST_OF_A_USER = 8;

  /// A client that hears nothing for so long would not know whether the daemon is there.
  private static final Duration SIGN_OF_LIFE = Duration.ofSeconds(15);

  EventRoutes(EventStream stream, Metrics metrics, Replies replies) {
    this(stream, metrics, replies, new UserQuota());
  }

  List<Route> routes() {
    return List.of(
        reading(
            GET,
            "/v1/events",
            Role.VIEWER,
            "Follow events, from now on or after the event in `Last-Event-ID`.",
            this::follow),
        reading(
            GET,
            "/metrics",
            Role.VIEWER,
            "Read counters and timers, in the text format of Prometheus.",
            this::metrics));
  }

  private void metrics(ServerRequest request, ServerResponse response) {
    replies.asked(request);
    response.header("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    response.send(metrics.text());
  }

  /// @throws HyperFreshException [Problem#API_BUSY]
  private void follow(ServerRequest request, ServerResponse response) {
    Caller client = Warden.caller(request);
    try (UserQuota.Share _ =
        following
            .take(client.uid(), MOST_OF_A_USER)
            .orElseThrow(() ->
                Problem.API_BUSY.because(
                    MOST_OF_A_USER + " clients of this user follow events already."))) {
      replies.asked(request);
      long after = begin(request);
      replies.whileAwaited(
          client,
          () -> {
            follow(after, response);
            return true;
          });
    }
  }

  /// After which event to begin; -1 for a client that has missed some.
  ///
  /// @throws HyperFreshException [Problem#API_REQUEST]
  private long begin(ServerRequest request) {
    Optional<String> last =
        request
            .query()
            .first("after")
            .asOptional()
            .or(() -> request.headers().first(HeaderNames.create("Last-Event-ID")));
    last.filter(id -> !EventStream.isId(id))
        .ifPresent(id -> {
          throw Problem.API_REQUEST.because("'" + id + "' is not the id of an event.");
        });
    return last.map(id -> stream.number(id).orElse(-1L)).orElseGet(stream::newest);
  }

  private void follow(long begin, ServerResponse response) {
    response.header("Content-Type", "text/event-stream");
    response.header("Cache-Control", "no-store");
    try (OutputStream out = response.outputStream()) {
      long after = begin;
      // From here on the client knows where to begin again.
      boolean there = Replies.write(out, begin < 0 ? ":\n\n" : "id: " + stream.id(begin) + "\n\n");
      while (there && !stream.isClosed()) {
        EventStream.Batch batch = stream.after(after, SIGN_OF_LIFE);
        there = Replies.write(out, text(batch));
        after = batch.last();
      }
    } catch (InterruptedException e) {
      // The client has gone.
      Thread.currentThread().interrupt();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private String text(EventStream.Batch batch) {
    if (!batch.missed() && batch.entries().isEmpty()) {
      return ":\n\n";
    }
    StringBuilder text = new StringBuilder();
    if (batch.missed()) {
      append(text, stream.missed(batch));
    }
    for (EventStream.Entry entry : batch.entries()) {
      append(text, entry);
    }
    return text.toString();
  }

  private void append(StringBuilder text, EventStream.Entry entry) {
    text.append("id: ")
        .append(stream.id(entry.number()))
        .append("\nevent: ")
        .append(entry.type())
        .append("\ndata: ")
        .append(entry.json())
        .append("\n\n");
  }
}
