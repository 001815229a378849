package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.machine.MachineSettings;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.OsSettings;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// The daemon's interface: HTTP on a unix socket in the state directory. The [Gateway] says who
/// asks and the [Warden] whether they may. Reads answer with one JSON document. Work answers with
/// one JSON object a line: any number of `{"progress":…}`, then one `{"result":…}` or
/// `{"problem":…}`.
final class Api implements AutoCloseable {
  static final ObjectMapper JSON = JsonMapper.builder().build();

  private static final Logger LOG = LoggerFactory.getLogger(Api.class);
  private static final int MAX_BODY_BYTES = 2 * SpecDocument.MAX_BYTES;
  private static final int MAX_HISTORY = 1000;

  /// How long requests that are being answered may take to their end when the daemon ends.
  private static final Duration LAST_ANSWERS = Duration.ofSeconds(1);

  private final Daemon daemon;

  /// Requests that are being answered, and this object until it is closed.
  private final Phaser answers = new Phaser(1);

  private @Nullable WebServer server;
  private @Nullable Gateway gateway;

  Api(Daemon daemon) {
    this.daemon = daemon;
  }

  /// Serves clients on `socket`, through a web server of their own on `inner`, whose folder must be
  /// closed to others.
  void serve(Path socket, Path inner, Roles roles) {
    try {
      Files.deleteIfExists(inner);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(inner + ": " + e.getMessage(), e);
    }
    server =
        WebServer.builder()
            .bindAddress(UnixDomainSocketAddress.of(inner))
            .enableProxyProtocol(true)
            .maxPayloadSize(MAX_BODY_BYTES)
            .shutdownHook(false)
            .routing(this::routes)
            .build()
            .start();
    gateway = Gateway.open(socket, inner, roles);
  }

  @Override
  public void close() {
    if (gateway != null) {
      gateway.refuse();
      awaitAnswers();
      gateway.close();
    }
    if (server != null) {
      server.stop();
    }
  }

  /// Work that is over has an answer, and its client shall read it.
  private void awaitAnswers() {
    int phase = answers.arriveAndDeregister();
    try {
      answers.awaitAdvanceInterruptibly(phase, LAST_ANSWERS.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      LOG.info(
          "some clients get no answer to the end: their requests take longer than {}",
          LAST_ANSWERS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void answering(FilterChain chain) {
    answers.register();
    try {
      chain.proceed();
    } finally {
      answers.arriveAndDeregister();
    }
  }

  /// The server tells the client that it closes the connection, and leaves it open for minutes: a
  /// client that reads to the end would wait for so long.
  private static void closeIfAsked(ServerRequest request) {
    if (request.headers().contains(HeaderValues.CONNECTION_CLOSE)) {
      throw new CloseConnectionException("the client has asked for it");
    }
  }

  private void routes(HttpRouting.Builder routes) {
    Warden warden = new Warden(daemon.audit());
    routes
        .addFilter((chain, _, _) -> answering(chain))
        .addFilter((chain, request, _) -> {
          chain.proceed();
          closeIfAsked(request);
        })
        .addFilter((chain, request, _) -> warden.filter(chain, request))
        .error(HyperFreshException.class, Api::problem)
        .error(
            HttpException.class,
            (request, response, e) ->
                problem(
                    request,
                    response,
                    Problem.API_REQUEST.because(String.valueOf(e.getMessage()), e)))
        .error(
            RuntimeException.class,
            (request, response, e) -> problem(request, response, internal(e)))
        .get("/v1/guests", (_, response) -> send(response, guests()))
        .post("/v1/guests", (request, response) -> work(request, response, this::create))
        .get("/v1/guests/{name}", (request, response) -> send(response, guest(name(request))))
        .delete(
            "/v1/guests/{name}",
            (request, response) -> {
              daemon.hyperplexor().delete(name(request));
              send(response, Map.of("deleted", name(request)));
            })
        .post(
            "/v1/guests/{name}/resume",
            (request, response) ->
                send(response, Views.guest(daemon.hyperplexor().resume(name(request)))))
        .post(
            "/v1/guests/{name}/adopt", (request, response) -> work(request, response, this::adopt))
        .post("/v1/guests/{name}/stop", (request, response) -> work(request, response, this::stop))
        .post("/v1/guests/{name}/plan", (request, response) -> work(request, response, this::plan))
        .post(
            "/v1/guests/{name}/replacements",
            (request, response) -> work(request, response, this::replace))
        .post("/v1/rollouts", (request, response) -> work(request, response, this::rollOut))
        .post(
            "/v1/rollouts/plan",
            (request, response) ->
                send(
                    response,
                    Views.rollout(
                        daemon
                            .hyperplexor()
                            .planRollout(
                                RolloutOrder.read(body(request), daemon.machines()::whereToRun)))))
        .get("/v1/machines", (_, response) -> send(response, machines()))
        .post("/v1/machines", (request, response) -> work(request, response, this::createMachine))
        .get(
            "/v1/machines/{name}",
            (request, response) ->
                send(response, daemon.machines().view(daemon.machines().get(name(request)))))
        .delete(
            "/v1/machines/{name}",
            (request, response) -> {
              daemon.machines().delete(name(request));
              send(response, Map.of("deleted", name(request)));
            })
        .post(
            "/v1/machines/{name}/replacements",
            (request, response) -> work(request, response, this::replaceMachine))
        .get("/v1/os", (_, response) -> send(response, systems()))
        .post("/v1/os", (request, response) -> work(request, response, this::createOs))
        .get(
            "/v1/os/{name}",
            (request, response) ->
                send(response, os(daemon.systems().systems().get(name(request)))))
        .delete(
            "/v1/os/{name}",
            (request, response) -> {
              daemon.systems().delete(name(request));
              send(response, Map.of("deleted", name(request)));
            })
        .post(
            "/v1/os/{name}/replacements",
            (request, response) -> work(request, response, this::replaceOs))
        .get("/v1/containers", (_, response) -> send(response, containers()))
        .post("/v1/containers", (request, response) -> work(request, response, this::runContainer))
        .get(
            "/v1/containers/{name}",
            (request, response) ->
                send(
                    response, Views.container(daemon.systems().systems().container(name(request)))))
        .get(
            "/v1/containers/{name}/log",
            (request, response) ->
                send(response, Map.of("log", daemon.systems().systems().log(name(request)))))
        .post(
            "/v1/containers/{name}/exec",
            (request, response) -> work(request, response, this::execute))
        .post(
            "/v1/containers/{name}/stop",
            (request, response) -> work(request, response, this::stopContainer))
        .post(
            "/v1/containers/{name}/relocations",
            (request, response) -> work(request, response, this::relocate))
        .get("/v1/history", (request, response) -> send(response, history(request)))
        .get(
            "/v1/audit",
            (request, response) -> {
              warden.require(request, Role.ADMIN);
              send(response, audit(request));
            })
        .get("/v1/releases", (_, response) -> send(response, releases()))
        .post("/v1/releases", (request, response) -> work(request, response, this::addRelease))
        .get("/v1/releases/{name}", (request, response) -> send(response, release(name(request))))
        .post(
            "/v1/releases/{name}/verify",
            (request, response) -> send(response, verified(name(request))))
        .delete(
            "/v1/releases/{name}",
            (request, response) -> {
              daemon.removeRelease(name(request));
              send(response, Map.of("removed", name(request)));
            });
  }

  /// What a request asks for: its path's name, its body, and where to tell of progress.
  private record Job(String name, JsonNode body, Progress progress, Rollout.Audience audience) {
    String text(String field) {
      String value = body.path(field).asString("");
      if (value.isEmpty()) {
        throw Problem.API_REQUEST.because("The request lacks '" + field + "'.");
      }
      return value;
    }

    boolean flag(String field, boolean otherwise) {
      JsonNode value = body.path(field);
      if (!value.isMissingNode() && !value.isBoolean()) {
        throw Problem.API_REQUEST.because("'" + field + "' is not true or false.");
      }
      return value.asBoolean(otherwise);
    }
  }

  private Object guests() {
    return Map.of("guests", daemon.hyperplexor().list().stream().map(Views::guest).toList());
  }

  private Object guest(String name) {
    return Views.guest(daemon.hyperplexor().show(name));
  }

  private Object create(Job job) {
    SpecDocument document = SpecDocument.parse(job.text("document"), path(job.text("base")));
    GuestView view =
        daemon.hyperplexor().create(document.spec(), daemon.releaseFor(document), job.progress());
    return Views.guest(view);
  }

  private Object adopt(Job job) {
    int pid = job.body().path("pid").asInt(0);
    if (pid < 2) {
      throw Problem.API_REQUEST.because("'pid' is not the number of a process.");
    }
    Optional<Path> console =
        job.body().has("console") ? Optional.of(path(job.text("console"))) : Optional.empty();
    GuestView view =
        daemon
            .hyperplexor()
            .adopt(
                job.name(),
                pid,
                path(job.text("qmp")),
                console,
                daemon.releases()::ofProcess,
                job.progress());
    return Views.guest(view);
  }

  private Object stop(Job job) {
    Duration patience = Duration.ofSeconds(job.body().path("patience_s").asInt(0));
    job.progress().step("stop", "asking the guest to power off");
    return Views.guest(daemon.hyperplexor().stop(job.name(), patience));
  }

  private Object plan(Job job) {
    Release to = daemon.machines().whereToRun(job.text("to"));
    List<Check> checks =
        daemon
            .hyperplexor()
            .plan(
                job.name(),
                to,
                job.flag("rehearse", true),
                job.flag("step_clock", false),
                job.progress());
    return Map.of(
        "guest", job.name(),
        "to", to.name(),
        "possible", checks.stream().noneMatch(Check::failed),
        "checks", Views.checks(checks));
  }

  private Object replace(Job job) {
    Duration maxBlackout = Duration.ofMillis(job.body().path("max_blackout_ms").asLong(1000));
    if (maxBlackout.toMillis() < 1 || maxBlackout.toMillis() > 60_000) {
      throw Problem.API_REQUEST.because("max_blackout_ms is not between 1 and 60000.");
    }
    return Views.replacement(
        daemon.replace(
            job.name(),
            job.text("to"),
            maxBlackout,
            job.flag("rehearse", true),
            job.flag("step_clock", false),
            job.progress()));
  }

  private Object rollOut(Job job) {
    return Views.rollout(
        daemon.rollOut(
            RolloutOrder.read(job.body(), daemon.machines()::whereToRun), job.audience()));
  }

  private Object history(ServerRequest request) {
    Optional<String> guest = request.query().first("guest").asOptional();
    return Map.of("replacements", daemon.history().read(guest, limit(request)));
  }

  private Object audit(ServerRequest request) {
    return Map.of("actions", daemon.audit().read(limit(request)));
  }

  private static int limit(ServerRequest request) {
    int limit = request.query().first("limit").asOptional().map(Api::number).orElse(50);
    return Math.clamp(limit, 1, MAX_HISTORY);
  }

  private static int number(String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw Problem.API_REQUEST.because("'" + text + "' is not a number.", e);
    }
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

  private Object machines() {
    return Map.of(
        "machines", daemon.machines().list().stream().map(daemon.machines()::view).toList());
  }

  private Object createMachine(Job job) {
    JsonNode body = job.body();
    long mebibytes = body.path("memory_mib").asLong(MachineSettings.DEFAULT_MEMORY_BYTES >> 20);
    if (mebibytes < 0 || mebibytes > Long.MAX_VALUE >> 20) {
      throw Problem.API_REQUEST.because("'memory_mib' is out of range.");
    }
    return daemon
        .machines()
        .view(
            daemon
                .machines()
                .create(
                    job.text("name"),
                    job.text("release"),
                    body.path("vcpus").asInt(1),
                    mebibytes << 20,
                    job.progress()));
  }

  private Object replaceMachine(Job job) {
    // What is wrong with the order is to be told before a machine boots for it.
    var _ =
        RolloutOrder.of(
            job.body(), new MachineRoom.Target(List.of(), daemon.machines().get(job.name())));
    MachineRoom.Replaced replaced =
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

  private Object systems() {
    return Map.of("os", daemon.systems().systems().list().stream().map(this::os).toList());
  }

  private Object os(OsVm os) {
    List<String> inside =
        daemon.systems().systems().containers().stream()
            .filter(container -> container.os().equals(os))
            .map(Container::name)
            .toList();
    return Views.os(os, daemon.systems().acceleratorReason(), inside);
  }

  private Object createOs(Job job) {
    JsonNode body = job.body();
    long mebibytes = body.path("memory_mib").asLong(OsSettings.DEFAULT_MEMORY_BYTES >> 20);
    if (mebibytes < 0 || mebibytes > Long.MAX_VALUE >> 20) {
      throw Problem.API_REQUEST.because("'memory_mib' is out of range.");
    }
    return os(
        daemon
            .systems()
            .create(
                job.text("name"),
                job.text("release"),
                body.path("vcpus").asInt(1),
                mebibytes << 20,
                job.progress()));
  }

  private Object replaceOs(Job job) {
    OsRoom.Replaced replaced =
        daemon
            .systems()
            .replace(
                job.name(), job.text("to"), job.body().path("parallel").asInt(2), job.progress());
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("old", job.name());
    json.put("old_retired", replaced.retired());
    json.put("os", replaced.target());
    json.put("relocations", replaced.moves().stream().map(Views::relocation).toList());
    return json;
  }

  private Object containers() {
    return Map.of(
        "containers",
        daemon.systems().systems().containers().stream().map(Views::container).toList());
  }

  private Object runContainer(Job job) {
    JsonNode body = job.body();
    Optional<ContainerSpec.Network> network =
        optional(body, "address")
            .map(address ->
                new ContainerSpec.Network(
                    address, optional(body, "gateway"), optional(body, "bridge")));
    return Views.container(
        daemon
            .systems()
            .run(
                new ContainerSpec(job.text("name"), path(job.text("bundle")), network),
                job.text("os"),
                job.progress()));
  }

  private static Optional<String> optional(JsonNode body, String field) {
    return Optional.of(body.path(field).asString("")).filter(text -> !text.isEmpty());
  }

  private Object execute(Job job) {
    List<String> command =
        job.body().path("command").valueStream().map(word -> word.asString("")).toList();
    Systems.Executed done = daemon.systems().systems().execute(job.name(), command);
    return Map.of("code", done.code(), "output", done.output());
  }

  private Object stopContainer(Job job) {
    int seconds = job.body().path("patience_s").asInt(10);
    if (seconds < 0 || seconds > 3600) {
      throw Problem.API_REQUEST.because("'patience_s' is not between 0 and 3600.");
    }
    job.progress().step("stop", "asking " + job.name() + " to end");
    daemon.systems().stop(job.name(), Duration.ofSeconds(seconds));
    return Map.of("stopped", job.name());
  }

  private Object relocate(Job job) {
    return Views.relocation(
        daemon
            .systems()
            .relocate(
                job.name(),
                job.text("to"),
                job.flag("copy", false) ? Transport.COPIED : Transport.MAPPED,
                job.progress()));
  }

  private Object addRelease(Job job) {
    if (job.body().has("userland")) {
      return Views.release(
          daemon
              .systems()
              .releases()
              .build(
                  job.text("kernel"),
                  job.text("userland"),
                  line -> job.progress().step("build", line)));
    }
    if (job.body().has("kernel")) {
      return Views.release(
          daemon
              .machines()
              .releases()
              .build(
                  job.text("kernel"), job.text("qemu"), line -> job.progress().step("build", line)),
          false);
    }
    if (job.body().has("path")) {
      return Views.release(daemon.releases().add(path(job.text("path"))), false);
    }
    return Views.release(
        daemon.releases().fetch(job.text("name"), line -> job.progress().step("fetch", line)),
        false);
  }

  private static Path path(String text) {
    try {
      Path path = Path.of(text);
      if (path.isAbsolute()) {
        return path;
      }
    } catch (InvalidPathException e) {
      throw Problem.API_REQUEST.because(String.valueOf(e.getMessage()), e);
    }
    throw Problem.API_REQUEST.because("'" + text + "' is not an absolute path.");
  }

  private static String name(ServerRequest request) {
    return request.path().pathParameters().get("name");
  }

  private static JsonNode body(ServerRequest request) {
    if (!request.content().hasEntity()) {
      throw Problem.API_REQUEST.because("The request has no body.");
    }
    try {
      JsonNode body = JSON.readTree(request.content().as(byte[].class));
      if (body != null && body.isObject()) {
        return body;
      }
      throw Problem.API_REQUEST.because("The body is not a JSON object.");
    } catch (JacksonException e) {
      throw Problem.API_REQUEST.because("The body is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  private static void send(ServerResponse response, Object json) {
    response.header("Content-Type", "application/json");
    response.send(JSON.writeValueAsBytes(json));
  }

  private static void problem(
      ServerRequest request, ServerResponse response, HyperFreshException e) {
    Warden.failed(request, e);
    response.status(e.problem().httpStatus());
    response.header("Content-Type", "application/problem+json");
    response.send(JSON.writeValueAsBytes(Views.problem(e)));
    closeIfAsked(request);
  }

  private static HyperFreshException internal(RuntimeException e) {
    LOG.error("a request failed", e);
    return Problem.INTERNAL.because(String.valueOf(e.getMessage()), e);
  }

  /// Runs `job` and streams what it says. The body is read before the answer begins.
  private static void work(
      ServerRequest request, ServerResponse response, Function<Job, Object> job) {
    String name = request.path().pathParameters().first("name").orElse("");
    JsonNode body = body(request);
    response.header("Content-Type", "application/x-ndjson");
    try (OutputStream out = response.outputStream()) {
      Progress progress =
          (state, text) -> {
            var _ = line(out, Map.of("progress", Map.of("state", state, "text", text)));
          };
      Rollout.Audience audience =
          (guest, state, text) ->
              line(out, Map.of("progress", Map.of("guest", guest, "state", state, "text", text)));
      try {
        Object result = job.apply(new Job(name, body, progress, audience));
        Warden.made(request, result);
        var _ = line(out, Map.of("result", result));
      } catch (HyperFreshException e) {
        failed(request, out, e);
      } catch (RuntimeException e) {
        failed(request, out, internal(e));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void failed(ServerRequest request, OutputStream out, HyperFreshException e) {
    Warden.failed(request, e);
    var _ = line(out, Map.of("problem", Views.problem(e)));
  }

  /// Writes one line at once. A client that has gone away does not stop the work it asked for.
  ///
  /// @return false when it has gone
  private static boolean line(OutputStream out, Object json) {
    byte[] bytes = (JSON.writeValueAsString(json) + "\n").getBytes(StandardCharsets.UTF_8);
    // Several guests of a rollout report at a time.
    synchronized (out) {
      return written(out, bytes);
    }
  }

  private static boolean written(OutputStream out, byte[] bytes) {
    try {
      out.write(bytes);
      out.flush();
      return true;
    } catch (IOException | UncheckedIOException e) {
      LOG.debug("the client has gone", e);
      return false;
    }
  }
}
