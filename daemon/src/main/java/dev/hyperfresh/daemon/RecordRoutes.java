package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.GET;

import dev.hyperfresh.hypervisor.Problem;
import io.helidon.webserver.http.ServerRequest;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// `/v1/history` and `/v1/audit`.
///
/// @param history of replacements and moves
/// @param audit of requests
/// @param replies how requests are answered
record RecordRoutes(History history, Audit audit, Replies replies) {
  private static final int MOST_ROWS = 1000;
  private static final int ROWS = 50;

  List<Route> routes() {
    return List.of(
        reading(
            GET,
            "/v1/history",
            Role.VIEWER,
            "List past replacements, or moves of containers, newest first.",
            replies.sending(this::past)),
        reading(
            GET,
            "/v1/audit",
            Role.ADMIN,
            "List who changed what or was refused, newest first.",
            replies.sending(request -> Map.of("actions", audit.read(limit(request))))));
  }

  private Object past(ServerRequest request) {
    int limit = limit(request);
    Optional<String> container = request.query().first("container").asOptional();
    if (container.isPresent()) {
      Optional<String> named = container.filter(name -> !name.equals("*"));
      return Map.of("relocations", history.read(History.Kind.RELOCATION, named, limit));
    }
    Optional<String> guest = request.query().first("guest").asOptional();
    return Map.of("replacements", history.read(History.Kind.REPLACEMENT, guest, limit));
  }

  private static int limit(ServerRequest request) {
    int limit = request.query().first("limit").asOptional().map(RecordRoutes::number).orElse(ROWS);
    return Math.clamp(limit, 1, MOST_ROWS);
  }

  private static int number(String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw Problem.API_REQUEST.because("'" + text + "' is not a number.", e);
    }
  }
}
