package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/// `/v1/releases` and `/v1/prunings`.
///
/// @param kinds the releases
/// @param replies how requests are answered
record ReleaseRoutes(ReleaseKinds kinds, Replies replies) {
  /// How long pruning keeps a build whatever it is, unless told otherwise.
  private static final int KEPT_DAYS = 30;

  private static final int MOST_DAYS = 36500;

  List<Route> routes() {
    return List.of(
        reading(
            GET,
            "/v1/releases",
            Role.VIEWER,
            "List all installed releases.",
            replies.sending(_ -> Map.of("releases", kinds.list()))),
        changing(
                POST,
                "/v1/releases",
                Role.ADMIN,
                "Fetch, build or register a release.",
                replies.working(kinds::add))
            .taking("name", "path", "from", "kernel", "qemu", "userland"),
        reading(
            GET,
            "/v1/releases/{name}",
            Role.VIEWER,
            "Show a release.",
            replies.sending(request -> show(Replies.name(request)))),
        changing(
                POST,
                "/v1/prunings",
                Role.ADMIN,
                "Remove builds that nobody uses.",
                replies.sendingFor(this::prune))
            .taking("days", "dry_run"),
        changing(
            POST,
            "/v1/releases/{name}/verify",
            Role.ADMIN,
            "Compare the files of a release with what was installed.",
            replies.sending(request -> verify(Replies.name(request)))),
        changing(
            DELETE,
            "/v1/releases/{name}",
            Role.ADMIN,
            "Remove a release that is not in use.",
            replies.done("removed", kinds::remove)));
  }

  private Object show(String name) {
    return kinds.of(name).show(name);
  }

  private Object prune(JsonNode body) {
    Fields fields = new Fields(body);
    boolean dry = fields.flag("dry_run", false);
    int days = fields.number("days", KEPT_DAYS, 0, MOST_DAYS);
    return Views.pruned(kinds.prune(days, dry), dry);
  }

  private Object verify(String name) {
    return kinds.of(name).verify(name);
  }
}
