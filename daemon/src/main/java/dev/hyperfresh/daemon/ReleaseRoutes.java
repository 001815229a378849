package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/// `/v1/releases`.
///
/// @param daemon whose releases they are
/// @param replies how requests are answered
record ReleaseRoutes(Daemon daemon, Replies replies) {
  List<Route> routes() {
    return List.of(
        reading(
            GET,
            "/v1/releases",
            Role.VIEWER,
            "List all installed releases.",
            replies.sending(_ -> Map.of("releases", kinds().list()))),
        changing(
                POST,
                "/v1/releases",
                Role.ADMIN,
                "Fetch, build or take over a release.",
                replies.working(this::add))
            .taking("name", "path", "kernel", "qemu", "userland"),
        reading(
            GET,
            "/v1/releases/{name}",
            Role.VIEWER,
            "Show a release.",
            replies.sending(request -> show(Replies.name(request)))),
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
            "Remove a release that nothing runs.",
            replies.done("removed", daemon::removeRelease)));
  }

  private Object add(Job job) {
    Set<String> before = names();
    Map<String, Object> added = kinds().askedFor(job.body()).add(job);
    String name = String.valueOf(added.get("name"));
    if (!before.contains(name)) {
      daemon.events().publish(new Event.ReleaseChanged(name, true));
    }
    return added;
  }

  private Set<String> names() {
    return kinds().list().stream()
        .map(release -> String.valueOf(release.get("name")))
        .collect(Collectors.toSet());
  }

  private Object show(String name) {
    return kinds().of(name).show(name);
  }

  private Object verify(String name) {
    return kinds().of(name).verify(name);
  }

  private ReleaseKinds kinds() {
    return daemon.releaseKinds();
  }
}
