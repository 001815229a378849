package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;

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
            replies.sending(_ -> releases())),
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
            replies.sending(request -> release(Replies.name(request)))),
        changing(
            POST,
            "/v1/releases/{name}/verify",
            Role.ADMIN,
            "Compare the files of a release with what was installed.",
            replies.sending(request -> verified(Replies.name(request)))),
        changing(
            DELETE,
            "/v1/releases/{name}",
            Role.ADMIN,
            "Remove a release that nothing runs.",
            replies.done("removed", daemon::removeRelease)));
  }

  private Object releases() {
    return Map.of(
        "releases",
        Stream.of(
                daemon.releases().list().stream().map(release -> Views.release(release, false)),
                daemon.machines().releases().list().stream()
                    .map(release -> Views.release(release, false)),
                daemon.systems().releases().list().stream().map(Views::release))
            .flatMap(all -> all)
            .toList());
  }

  private Object release(String name) {
    if (Daemon.isOfSystems(name)) {
      return Views.release(daemon.systems().releases().get(name));
    }
    return Daemon.isOfMachines(name)
        ? Views.release(daemon.machines().releases().get(name), true)
        : Views.release(daemon.releases().get(name), true);
  }

  private Object verified(String name) {
    if (Daemon.isOfSystems(name)) {
      return Views.release(daemon.systems().releases().verify(name));
    }
    return Daemon.isOfMachines(name)
        ? Views.release(daemon.machines().releases().verify(name), false)
        : Views.verified(daemon.releases().verify(name));
  }

  private Object add(Job job) {
    Map<String, Object> added = added(job);
    daemon.events().publish(new Event.ReleaseChanged(String.valueOf(added.get("name")), true));
    return added;
  }

  private Map<String, Object> added(Job job) {
    Consumer<String> built = line -> job.progress().step("build", line);
    if (job.body().has("userland")) {
      return Views.release(
          daemon.systems().releases().build(job.text("kernel"), job.text("userland"), built));
    }
    if (job.body().has("kernel")) {
      return Views.release(
          daemon.machines().releases().build(job.text("kernel"), job.text("qemu"), built), false);
    }
    if (job.body().has("path")) {
      return Views.release(daemon.releases().add(Replies.path(job.text("path"))), false);
    }
    return Views.release(
        daemon.releases().fetch(job.text("name"), line -> job.progress().step("fetch", line)),
        false);
  }
}
