package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.relocation.ContainerLog;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import io.helidon.webserver.http.ServerRequest;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/// `/v1/containers` and `/v1/volumes`.
///
/// @param room in whose operating systems they are
/// @param replies how requests are answered
record ContainerRoutes(OsRoom room, Replies replies) {
  List<Route> routes() {
    return List.of(
        reading(
            GET,
            "/v1/containers",
            Role.VIEWER,
            "List all containers.",
            replies.sending(_ -> containers())),
        changing(
                POST,
                "/v1/containers",
                Role.ADMIN,
                "Create a container and start it.",
                replies.working(this::run))
            .taking(
                "name",
                "os",
                "bundle",
                "image",
                "restart",
                "address",
                "gateway",
                "address6",
                "gateway6",
                "dns",
                "bridge",
                "volumes",
                "health"),
        reading(
            GET,
            "/v1/containers/{name}",
            Role.VIEWER,
            "Show a container.",
            replies.sending(request -> Views.container(systems().view(Replies.name(request))))),
        changing(
            DELETE,
            "/v1/containers/{name}",
            Role.ADMIN,
            "Remove a container and its files; with `force=true` even if it runs.",
            replies.sending(this::remove)),
        // What a container writes may be anybody's secret.
        reading(
            GET,
            "/v1/containers/{name}/log",
            Role.OPERATOR,
            "Read what a container has written.",
            replies.sending(this::log)),
        reading(
            GET,
            "/v1/containers/{name}/stats",
            Role.VIEWER,
            "Show what a container uses.",
            replies.sending(request -> Views.stats(systems().stats(Replies.name(request))))),
        changing(
                POST,
                "/v1/containers/{name}/exec",
                Role.ADMIN,
                "Run a program in a container.",
                replies.working(this::execute))
            .taking("command"),
        changing(
                POST,
                "/v1/containers/{name}/start",
                Role.OPERATOR,
                "Start a container that has ended.",
                replies.working(this::start))
            .taking("os"),
        changing(
                POST,
                "/v1/containers/{name}/stop",
                Role.OPERATOR,
                "End a container.",
                replies.working(this::stop))
            .taking("patience_s", "until_boot"),
        changing(
            POST,
            "/v1/containers/{name}/resume",
            Role.OPERATOR,
            "Resume a container that is in doubt.",
            replies.done("resumed", room::resume)),
        changing(
                POST,
                "/v1/containers/{name}/relocations",
                Role.OPERATOR,
                "Move a container to another OS.",
                replies.working(this::relocate))
            .taking("to", "copy", "health"),
        reading(
            GET, "/v1/volumes", Role.VIEWER, "List all volumes.", replies.sending(_ -> volumes())),
        changing(
                POST,
                "/v1/volumes",
                Role.ADMIN,
                "Create an empty volume.",
                replies.sendingFor(body -> createVolume(new Fields(body).text("name"))))
            .taking("name"),
        changing(
            DELETE,
            "/v1/volumes/{name}",
            Role.ADMIN,
            "Remove a volume and its contents.",
            replies.done("removed", room::removeVolume)));
  }

  private Systems systems() {
    return room.systems();
  }

  private Object containers() {
    return Map.of(
        "containers",
        systems().views().stream().map(Views::container).toList(),
        "left_over",
        systems().leftOvers());
  }

  private Object run(Job job) {
    ContainerOrder order = ContainerOrder.read(job.body(), Replies::path);
    return Views.container(
        order.isImage()
            ? room.runImage(order.spec(), order.restart(), order.os(), job.progress())
            : room.run(order.spec(), order.restart(), order.os(), job.progress()));
  }

  private Object remove(ServerRequest request) {
    room.remove(Replies.name(request), OsRoutes.isForced(request));
    return Map.of("removed", Replies.name(request));
  }

  private Object log(ServerRequest request) {
    String name = Replies.name(request);
    // Before it is read: what an ended container has written is all there.
    boolean ended = systems().view(name).state().hasEnded();
    ContainerLog log = systems().logOf(name);
    ContainerLog.Piece piece =
        request.query().first("after").asOptional().map(log::after).orElseGet(log::last);
    return Map.of("log", piece.text(), "next", piece.next(), "ended", ended);
  }

  private Object execute(Job job) {
    List<String> command =
        job.body().path("command").valueStream().map(word -> word.asString("")).toList();
    Systems.Executed done = systems().execute(job.name(), command);
    return Map.of("code", done.code(), "output", done.output());
  }

  private Object start(Job job) {
    return Views.container(room.start(job.name(), job.fields().optional("os"), job.progress()));
  }

  private Object stop(Job job) {
    int seconds = job.number("patience_s", 10, 0, GuestRoutes.MAX_PATIENCE_SECONDS);
    job.progress().step("stop", "asking " + job.name() + " to end");
    if (job.flag("until_boot", false)) {
      room.stopUntilBoot(job.name(), Duration.ofSeconds(seconds));
    } else {
      room.stop(job.name(), Duration.ofSeconds(seconds));
    }
    return Map.of("stopped", job.name());
  }

  private Object relocate(Job job) {
    return Views.relocation(
        room.relocate(
            job.name(),
            job.text("to"),
            job.flag("copy", false) ? Transport.COPIED : Transport.MAPPED,
            job.flag("health", true),
            job.progress()));
  }

  private Object volumes() {
    return Map.of("volumes", systems().volumes().stream().map(Views::volume).toList());
  }

  private Object createVolume(String name) {
    room.createVolume(name);
    return Map.of("created", name);
  }
}
