package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import io.helidon.webserver.http.ServerRequest;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// `/v1/os`.
///
/// @param room whose operating systems they are
/// @param replies how requests are answered
record OsRoutes(OsRoom room, Replies replies) {
  List<Route> routes() {
    return new VmLifeRoutes("/v1/os", "an OS", room, replies).with(own());
  }

  private List<Route> own() {
    return List.of(
        reading(
            GET,
            "/v1/os",
            Role.VIEWER,
            "List all operating systems.",
            replies.sending(_ -> Map.of("os", room.views()))),
        changing(POST, "/v1/os", Role.ADMIN, "Boot an OS.", replies.working(this::create))
            .taking("name", "release", "vcpus", "memory_mib"),
        reading(
            GET,
            "/v1/os/{name}",
            Role.VIEWER,
            "Show an OS.",
            replies.sending(request -> room.view(Replies.name(request)))),
        changing(
            DELETE,
            "/v1/os/{name}",
            Role.ADMIN,
            "End an OS; with `force=true` even if it has containers.",
            replies.sending(this::delete)),
        changing(
                POST,
                "/v1/os/{name}/replacements",
                Role.OPERATOR,
                "Move all containers of an OS to another one and end it.",
                replies.working(this::replace))
            .taking("to", "parallel", "canary", "soak_ms", "dry_run"));
  }

  private Object create(Job job) {
    OsVm made =
        room.create(
            job.text("name"),
            job.text("release"),
            job.number("vcpus", 1, 0, 1024),
            MachineRoutes.memoryBytes(job),
            job.progress());
    return room.view(made.name());
  }

  private Object delete(ServerRequest request) {
    String name = Replies.name(request);
    if (isForced(request)) {
      room.kill(name);
    } else {
      room.delete(name);
    }
    return Map.of("deleted", name);
  }

  /// Whether a request says `force=true`.
  static boolean isForced(ServerRequest request) {
    return Optional.of("true").equals(request.query().first("force").asOptional());
  }

  private Object replace(Job job) {
    String to = job.text("to");
    if (job.flag("dry_run", false)) {
      return Views.relocations(room.planReplace(job.name(), to));
    }
    Replaced<RelocationRecord> replaced =
        room.replace(job.name(), to, RolloutOrder.pace(job.fields()), job.audience());
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("old", job.name());
    json.put("old_retired", replaced.retired());
    json.put("os", replaced.target());
    json.put("os_withdrawn", replaced.withdrawn());
    json.putAll(Views.relocations(replaced.rollout()));
    return json;
  }
}
