package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.machine.Machine;
import dev.hyperfresh.vm.VmSettings;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// `/v1/machines`.
///
/// @param daemon whose machines they are
/// @param replies how requests are answered
record MachineRoutes(Daemon daemon, Replies replies) {
  List<Route> routes() {
    return new VmLifeRoutes("/v1/machines", "a machine", daemon.machines(), replies).with(own());
  }

  private List<Route> own() {
    return List.of(
        reading(
            GET,
            "/v1/machines",
            Role.VIEWER,
            "List all machines.",
            replies.sending(_ -> machines())),
        changing(POST, "/v1/machines", Role.ADMIN, "Boot a machine.", replies.working(this::create))
            .taking("name", "release", "vcpus", "memory_mib"),
        reading(
            GET,
            "/v1/machines/{name}",
            Role.VIEWER,
            "Show a machine.",
            replies.sending(request -> daemon.machines().view(Replies.name(request)))),
        changing(
            DELETE,
            "/v1/machines/{name}",
            Role.ADMIN,
            "End a machine without guests.",
            replies.done("deleted", daemon.machines()::delete)),
        changing(
                POST,
                "/v1/machines/{name}/replacements",
                Role.OPERATOR,
                "Move all guests of a machine to another one and end it.",
                replies.working(this::replace))
            .taking(
                "to",
                "from",
                "all",
                "guests",
                "parallel",
                "canary",
                "soak_ms",
                "within_ms",
                "max_blackout_ms",
                "rehearse",
                "step_clock"));
  }

  private Object machines() {
    return Map.of("machines", daemon.machines().views());
  }

  /// The bytes of memory that a job for a virtual machine asks for.
  static long memoryBytes(Job job) {
    return job.fields()
            .number("memory_mib", VmSettings.DEFAULT_MEMORY_BYTES >> 20, 0, Long.MAX_VALUE >> 20)
        << 20;
  }

  private Object create(Job job) {
    Machine made =
        daemon
            .machines()
            .create(
                job.text("name"),
                job.text("release"),
                job.number("vcpus", 1, 0, 1024),
                memoryBytes(job),
                job.progress());
    return daemon.machines().view(made.name());
  }

  private Object replace(Job job) {
    // What is wrong with the order is to be told before a machine boots for it.
    var _ =
        RolloutOrder.of(
            job.body(), new MachineRoom.Target(List.of(), daemon.machines().get(job.name())));
    Replaced<ReplacementRecord> replaced =
        daemon.replaceMachine(
            job.name(),
            RolloutOrder.to(job.body()),
            target -> RolloutOrder.of(job.body(), target),
            job.audience());
    Map<String, Object> json = new LinkedHashMap<>(Views.rollout(replaced.rollout()));
    json.put("machine", replaced.target());
    json.put("machine_withdrawn", replaced.withdrawn());
    json.put("old", job.name());
    json.put("old_retired", replaced.retired());
    return json;
  }
}
