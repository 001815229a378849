package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.hypervisor.Problem;
import io.helidon.webserver.http.ServerRequest;
import java.util.List;
import java.util.stream.Stream;

/// What `/v1/machines` and `/v1/os` have in common.
///
/// @param path of all of them
/// @param one what one is called in a sentence
/// @param life what is done with them
/// @param replies how requests are answered
record VmLifeRoutes(String path, String one, VmLife life, Replies replies) {
  /// Those of `others`, and these.
  List<Route> with(List<Route> others) {
    return Stream.concat(others.stream(), routes().stream()).toList();
  }

  private List<Route> routes() {
    return List.of(
        changing(
            POST,
            path + "/{name}/start",
            Role.OPERATOR,
            "Start " + one + " that is stopped.",
            replies.working(this::start)),
        changing(
            POST,
            path + "/{name}/stop",
            Role.OPERATOR,
            "End " + one + " in which nothing runs, and keep it for a later start.",
            replies.sending(this::stop)),
        changing(
                POST,
                path + "/{name}/autostart",
                Role.ADMIN,
                "Decide whether " + one + " is started when the host has booted.",
                replies.working(this::autostart))
            .taking("on"));
  }

  private Object start(Job job) {
    life.start(job.name(), job.progress());
    return life.view(job.name());
  }

  private Object stop(ServerRequest request) {
    String name = Replies.name(request);
    life.stop(name);
    return life.view(name);
  }

  private Object autostart(Job job) {
    if (!job.body().has("on")) {
      throw Problem.API_REQUEST.because("The request lacks 'on'.");
    }
    life.autostart(job.name(), job.flag("on", false));
    return life.view(job.name());
  }
}
