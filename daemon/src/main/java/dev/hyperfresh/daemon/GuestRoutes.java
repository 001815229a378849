package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.Hyperplexor;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.MemoryCopy;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// `/v1/guests` and `/v1/rollouts`.
///
/// @param daemon whose guests they are
/// @param replies how requests are answered
record GuestRoutes(Daemon daemon, Replies replies) {
  /// The longest that a guest or container may be waited for.
  static final int MAX_PATIENCE_SECONDS = 3600;

  private static final int MAX_COPY_SECONDS = (int) MemoryCopy.MAX_LIMIT.toSeconds();
  private static final int MAX_DOWNTIME_MILLIS = (int) MemoryCopy.MAX_DOWNTIME.toMillis();
  private static final List<String> COPYING = List.of("to", "max_downtime_ms", "timeout_s");

  List<Route> routes() {
    return List.of(
        reading(GET, "/v1/guests", Role.VIEWER, "List all guests.", replies.sending(_ -> guests())),
        changing(
                POST,
                "/v1/guests",
                Role.ADMIN,
                "Create a guest from a document and start it, unless `start` is false.",
                replies.working(this::create))
            .taking("document", "base", "start"),
        reading(
            GET,
            "/v1/guests/{name}",
            Role.VIEWER,
            "Show a guest.",
            replies.sending(request -> guest(Replies.name(request)))),
        changing(
            DELETE,
            "/v1/guests/{name}",
            Role.ADMIN,
            "Delete a guest and its files, but not its disks; with `force=true` even if it runs.",
            replies.sending(this::delete)),
        changing(
                POST,
                "/v1/guests/{name}/start",
                Role.OPERATOR,
                "Start a guest that is stopped.",
                replies.working(this::start))
            .taking("release"),
        changing(
                POST,
                "/v1/guests/{name}/restart",
                Role.OPERATOR,
                "Ask a guest to power off, then end it, and start it again.",
                replies.working(this::restart))
            .taking("patience_s", "release"),
        changing(
                POST,
                "/v1/guests/{name}/autostart",
                Role.ADMIN,
                "Decide whether a guest is started when the host has booted.",
                replies.working(this::autostart))
            .taking("on"),
        changing(
                POST,
                "/v1/guests/{name}/edit",
                Role.ADMIN,
                "Change what the next start of a guest makes of it.",
                replies.working(this::edit))
            .taking("document", "base"),
        changing(
            POST,
            "/v1/guests/{name}/resume",
            Role.OPERATOR,
            "Resume a paused guest, or wake a suspended one.",
            replies.sending(request -> Views.guest(hyperplexor().resume(Replies.name(request))))),
        changing(
                POST,
                "/v1/guests/{name}/adopt",
                Role.ADMIN,
                "Adopt a running QEMU.",
                replies.working(this::adopt))
            .taking("pid", "qmp", "console", "copy", "to", "max_downtime_ms", "timeout_s"),
        changing(
                POST,
                "/v1/guests/{name}/stop",
                Role.OPERATOR,
                "Ask a guest to power off, then end it.",
                replies.working(this::stop))
            .taking("patience_s"),
        reading(
                POST,
                "/v1/guests/{name}/plan",
                Role.VIEWER,
                "Check whether a guest can move.",
                replies.working(this::plan))
            .taking("to", "rehearse", "step_clock"),
        changing(
                POST,
                "/v1/guests/{name}/replacements",
                Role.OPERATOR,
                "Replace the hypervisor under a guest.",
                replies.working(this::replace))
            .taking("to", "max_blackout_ms", "rehearse", "step_clock", "force"),
        changing(
                POST,
                "/v1/rollouts",
                Role.OPERATOR,
                "Replace the hypervisor under many guests.",
                replies.working(this::rollOut))
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
                "step_clock"),
        reading(
                POST,
                "/v1/rollouts/plan",
                Role.VIEWER,
                "Show what a rollout would do.",
                this::planRollout)
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

  private GuestRoom room() {
    return daemon.guests();
  }

  private Hyperplexor hyperplexor() {
    return daemon.hyperplexor();
  }

  private Object guests() {
    return Map.of("guests", hyperplexor().list().stream().map(Views::guest).toList());
  }

  private Object guest(String name) {
    return Views.guest(hyperplexor().show(name));
  }

  private static SpecDocument document(Job job) {
    return SpecDocument.parse(job.text("document"), Replies.path(job.text("base")));
  }

  private Object create(Job job) {
    boolean start = job.flag("start", true);
    return Views.guest(room().create(document(job), start, job.progress()));
  }

  private Object delete(ServerRequest request) {
    String name = Replies.name(request);
    hyperplexor().delete(name, OsRoutes.isForced(request));
    return Map.of("deleted", name);
  }

  private Object start(Job job) {
    Optional<String> release = job.fields().optional("release");
    return Views.guest(room().start(job.name(), release, job.progress()));
  }

  private Object restart(Job job) {
    Optional<String> release = job.fields().optional("release");
    return Views.guest(room().restart(job.name(), release, patience(job), job.progress()));
  }

  private Object autostart(Job job) {
    if (!job.body().has("on")) {
      throw Problem.API_REQUEST.because("The request lacks 'on'.");
    }
    return Views.guest(hyperplexor().autostart(job.name(), job.flag("on", false)));
  }

  private Object edit(Job job) {
    return Views.guest(room().edit(job.name(), document(job)));
  }

  private Object adopt(Job job) {
    int pid = job.number("pid", 0, 2, Integer.MAX_VALUE);
    if (pid == 0) {
      throw Problem.API_REQUEST.because("The request lacks 'pid'.");
    }
    Optional<Path> console =
        job.body().has("console")
            ? Optional.of(Replies.path(job.text("console")))
            : Optional.empty();
    return Views.guest(
        room()
            .adopt(
                job.name(),
                pid,
                Replies.path(job.text("qmp")),
                console,
                copy(job),
                job.progress()));
  }

  private static Optional<GuestRoom.CopyWish> copy(Job job) {
    Optional<String> to = job.fields().optional("to");
    MemoryCopy limits =
        new MemoryCopy(
            Duration.ofSeconds(job.number("timeout_s", 600, 1, MAX_COPY_SECONDS)),
            Duration.ofMillis(job.number("max_downtime_ms", 300, 1, MAX_DOWNTIME_MILLIS)));
    if (job.flag("copy", false)) {
      return Optional.of(new GuestRoom.CopyWish(to, limits));
    }
    if (COPYING.stream().anyMatch(job.body()::has)) {
      throw Problem.API_REQUEST.because(
          String.join(", ", COPYING) + " are for an adoption with 'copy'.");
    }
    return Optional.empty();
  }

  private Object stop(Job job) {
    return Views.guest(hyperplexor().stop(job.name(), patience(job)));
  }

  private static Duration patience(Job job) {
    Duration patience = Duration.ofSeconds(job.number("patience_s", 0, 0, MAX_PATIENCE_SECONDS));
    job.progress().step("stop", "asking the guest to power off");
    return patience;
  }

  private Object plan(Job job) {
    Release to = room().destination(job.text("to"));
    boolean rehearse = job.flag("rehearse", true);
    boolean stepClock = job.flag("step_clock", false);
    List<Check> checks =
        replies.planned(
            job.client(), () -> room().plan(job.name(), to, rehearse, stepClock, job.progress()));
    return Map.of(
        "guest", job.name(),
        "to", to.name(),
        "possible", checks.stream().noneMatch(Check::failed),
        "checks", Views.checks(checks));
  }

  private Object replace(Job job) {
    Duration maxBlackout = Duration.ofMillis(job.number("max_blackout_ms", 1000, 1, 60_000));
    // Once: what a name stands for may change.
    String to = room().destination(job.text("to")).name();
    Optional<Release> there =
        job.flag("force", false) ? Optional.empty() : room().there(job.name(), to);
    if (there.isPresent()) {
      return Views.there(job.name(), there.get().name());
    }
    return Views.replacement(
        room()
            .replace(
                job.name(),
                to,
                maxBlackout,
                job.flag("rehearse", true),
                job.flag("step_clock", false),
                job.progress()));
  }

  private Object rollOut(Job job) {
    return Views.rollout(
        room().rollOut(RolloutOrder.read(job.body(), room().destinations()), job.audience()));
  }

  private void planRollout(ServerRequest request, ServerResponse response) {
    GuestRollout.Order order = RolloutOrder.read(replies.body(request), room().destinations());
    Replies.send(
        response,
        Views.rollout(
            replies.planned(Warden.caller(request), () -> hyperplexor().planRollout(order))));
  }
}
