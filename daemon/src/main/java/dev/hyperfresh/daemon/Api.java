package dev.hyperfresh.daemon;

import static dev.hyperfresh.daemon.Route.changing;
import static dev.hyperfresh.daemon.Route.reading;
import static io.helidon.http.Method.DELETE;
import static io.helidon.http.Method.GET;
import static io.helidon.http.Method.POST;

import dev.hyperfresh.hyperplexor.GuestRollout;
import dev.hyperfresh.hyperplexor.GuestView;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.ReplacementRecord;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.relocation.Container;
import dev.hyperfresh.relocation.ContainerLog;
import dev.hyperfresh.relocation.OsVm;
import dev.hyperfresh.relocation.RelocationRecord;
import dev.hyperfresh.relocation.Systems;
import dev.hyperfresh.relocation.Transport;
import dev.hyperfresh.vm.VmSettings;
import io.helidon.common.buffers.DataReader;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.DirectHandler;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.http.RequestException;
import io.helidon.http.ServerResponseHeaders;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.DirectHandlers;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.helidon.webserver.http1.Http1Config;
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
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// The daemon's interface: HTTP on a unix socket in the state directory. The [Gateway] says who
/// asks and the [Warden] whether they may. Reads answer with one JSON document. Work answers with
/// one JSON object a line: any number of `{"progress":…}`, then one `{"result":…}` or
/// `{"problem":…}`.
final class Api implements AutoCloseable {
  static final ObjectMapper JSON = JsonMapper.builder().build();

  /// For what clients send: flat objects of a handful of fields, of which one may hold a document.
  private static final ObjectMapper REQUESTS =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(8)
                          .maxTokenCount(4096)
                          .maxNameLength(64)
                          .maxNumberLength(32)
                          .build())
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .build())
          .build();

  private static final Logger LOG = LoggerFactory.getLogger(Api.class);
  private static final int MAX_BODY_BYTES = 2 * SpecDocument.MAX_BYTES;
  private static final int MAX_HISTORY = 1000;

  /// Of a request's first line. Its path has at most [Routes#MOST_PATH] characters.
  private static final int MAX_LINE_BYTES = 2048;

  /// Of all header lines of a request.
  private static final int MAX_HEADER_BYTES = 8192;

  /// The longest that a guest or container may be waited for.
  private static final int MAX_PATIENCE_SECONDS = 3600;

  /// Dry runs of a user that are under way at a time.
  private static final int MOST_PLANS = 2;

  /// How long requests that are being answered may take to their end when the daemon ends.
  private static final Duration LAST_ANSWERS = Duration.ofSeconds(1);

  private final Daemon daemon;
  private final Routes routes;

  /// How many dry runs of a user are under way.
  private final Map<Integer, Integer> planning = new ConcurrentHashMap<>();

  /// Requests that are being answered, and this object until it is closed.
  private final Phaser answers = new Phaser(1);

  private @Nullable WebServer server;
  private volatile @Nullable Gateway gateway;

  Api(Daemon daemon) {
    this(daemon, UnaryOperator.identity());
  }

  /// @param staged what stands in for each route
  Api(Daemon daemon, UnaryOperator<Route> staged) {
    this.daemon = daemon;
    this.routes = new Routes(table().stream().map(staged).toList());
  }

  Routes routes() {
    return routes;
  }

  /// Serves clients on `socket`, through a web server of their own on `inner`, whose folder must be
  /// closed to others.
  void serve(Path socket, Path inner, Roles roles) {
    serve(socket, inner, roles, Gateway.Patience.ORDINARY);
  }

  void serve(Path socket, Path inner, Roles roles, Gateway.Patience patience) {
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
            .addProtocol(
                Http1Config.builder()
                    .maxPrologueLength(MAX_LINE_BYTES)
                    .maxHeadersSize(MAX_HEADER_BYTES)
                    // [Routes#requireCanonical] is stricter.
                    .validatePath(false)
                    .validatePrologue(false)
                    .build())
            .directHandlers(malformed())
            .shutdownHook(false)
            .routing(this::routes)
            .build()
            .start();
    Gateway opened = Gateway.open(socket, inner, roles, patience);
    gateway = opened;
    opened.start();
  }

  @Override
  public void close() {
    Gateway opened = gateway;
    if (opened != null) {
      opened.refuse();
      awaitAnswers();
      opened.close();
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

  /// Every answer is given here, refusals too: the server itself would write those that end a
  /// connection into the log, for whoever likes to fill it.
  private void answer(Warden warden, RoutingRequest request, RoutingResponse response) {
    Caller caller = Warden.caller(request);
    answers.register();
    try {
      answer(warden, caller, request, response);
      // The end of what was streamed.
      response.commit();
      closeIfAsked(request);
    } finally {
      gateway().answered(caller.connection());
      answers.arriveAndDeregister();
    }
  }

  private void answer(
      Warden warden, Caller caller, ServerRequest request, ServerResponse response) {
    try {
      warden.pass(caller, request, response);
    } catch (HyperFreshException e) {
      problem(request, response, e);
    }
  }

  private Gateway gateway() {
    return Objects.requireNonNull(gateway, "nobody asks before there is a gateway");
  }

  /// Does what is worth doing only for a client that waits for it: when it goes away, the thread is
  /// interrupted.
  private <T> T whileAwaited(Caller client, Supplier<T> work) {
    Thread worker = Thread.currentThread();
    try (Gateway.Watch _ = gateway().watch(client.connection(), worker::interrupt)) {
      return work.get();
    } finally {
      var _ = Thread.interrupted();
    }
  }

  /// As [#whileAwaited], for a dry run.
  ///
  /// @throws HyperFreshException [Problem#PLAN_BUSY]
  <T> T planned(Caller client, Supplier<T> plan) {
    try {
      if (planning.merge(client.uid(), 1, Integer::sum) > MOST_PLANS) {
        throw Problem.PLAN_BUSY.because(MOST_PLANS + " of this user are under way.");
      }
      return whileAwaited(client, plan);
    } finally {
      planning.computeIfPresent(client.uid(), (_, count) -> count > 1 ? count - 1 : null);
    }
  }

  /// What is no request of HTTP has no sender and no route; it is answered all the same.
  private static DirectHandlers malformed() {
    DirectHandlers.Builder handlers = DirectHandlers.builder();
    for (DirectHandler.EventType type : DirectHandler.EventType.values()) {
      handlers.addHandler(type, (_, _, _, headers, message) -> malformed(headers, message));
    }
    return handlers.build();
  }

  private static DirectHandler.TransportResponse malformed(
      ServerResponseHeaders headers, @Nullable String message) {
    String detail = message == null ? "It is no request of HTTP." : message;
    Object problem = Views.problem(Problem.API_REQUEST.because(detail));
    return DirectHandler.TransportResponse.builder()
        .status(Status.create(Problem.API_REQUEST.httpStatus()))
        .headers(headers)
        .header(HeaderValues.create("Content-Type", "application/problem+json"))
        .keepAlive(false)
        .entity(JSON.writeValueAsBytes(problem))
        .build();
  }

  /// The server tells the client that it closes the connection, and leaves it open for minutes: a
  /// client that reads to the end would wait for so long.
  private static void closeIfAsked(ServerRequest request) {
    if (request.headers().contains(HeaderValues.CONNECTION_CLOSE)) {
      throw new CloseConnectionException("the client has asked for it");
    }
  }

  private void routes(HttpRouting.Builder routes) {
    Warden warden = new Warden(daemon.audit(), this.routes);
    routes.addFilter((_, request, response) -> answer(warden, request, response));
  }

  /// All that can be asked for, who may, and what is written down of it. What a role may is decided
  /// here alone.
  private List<Route> table() {
    return Stream.of(
            guestRoutes(),
            rolloutRoutes(),
            machineRoutes(),
            osRoutes(),
            containerRoutes(),
            volumeRoutes(),
            recordRoutes(),
            releaseRoutes())
        .flatMap(List::stream)
        .toList();
  }

  private List<Route> guestRoutes() {
    return List.of(
        reading(GET, "/v1/guests", Role.VIEWER, sending(_ -> guests())),
        changing(POST, "/v1/guests", Role.ADMIN, working(this::create)),
        reading(GET, "/v1/guests/{name}", Role.VIEWER, sending(request -> guest(name(request)))),
        changing(
            DELETE,
            "/v1/guests/{name}",
            Role.ADMIN,
            sending(request -> done("deleted", request, daemon.hyperplexor()::delete))),
        changing(
            POST,
            "/v1/guests/{name}/resume",
            Role.OPERATOR,
            sending(request -> Views.guest(daemon.hyperplexor().resume(name(request))))),
        changing(POST, "/v1/guests/{name}/adopt", Role.ADMIN, working(this::adopt)),
        changing(POST, "/v1/guests/{name}/stop", Role.OPERATOR, working(this::stop)),
        reading(POST, "/v1/guests/{name}/plan", Role.VIEWER, working(this::plan)),
        changing(POST, "/v1/guests/{name}/replacements", Role.OPERATOR, working(this::replace)));
  }

  private List<Route> rolloutRoutes() {
    return List.of(
        changing(POST, "/v1/rollouts", Role.OPERATOR, working(this::rollOut)),
        reading(
            POST,
            "/v1/rollouts/plan",
            Role.VIEWER,
            (request, response) -> send(response, planRollout(request))));
  }

  private List<Route> machineRoutes() {
    return List.of(
        reading(GET, "/v1/machines", Role.VIEWER, sending(_ -> machines())),
        changing(POST, "/v1/machines", Role.ADMIN, working(this::createMachine)),
        reading(
            GET,
            "/v1/machines/{name}",
            Role.VIEWER,
            sending(request -> daemon.machines().view(daemon.machines().get(name(request))))),
        changing(
            DELETE,
            "/v1/machines/{name}",
            Role.ADMIN,
            sending(request -> done("deleted", request, daemon.machines()::delete))),
        changing(
            POST,
            "/v1/machines/{name}/replacements",
            Role.OPERATOR,
            working(this::replaceMachine)));
  }

  private List<Route> osRoutes() {
    return List.of(
        reading(GET, "/v1/os", Role.VIEWER, sending(_ -> systems())),
        changing(POST, "/v1/os", Role.ADMIN, working(this::createOs)),
        reading(
            GET,
            "/v1/os/{name}",
            Role.VIEWER,
            sending(request -> os(daemon.systems().systems().get(name(request))))),
        changing(DELETE, "/v1/os/{name}", Role.ADMIN, sending(this::deleteOs)),
        changing(POST, "/v1/os/{name}/replacements", Role.OPERATOR, working(this::replaceOs)));
  }

  private List<Route> containerRoutes() {
    return List.of(
        reading(GET, "/v1/containers", Role.VIEWER, sending(_ -> containers())),
        changing(POST, "/v1/containers", Role.ADMIN, working(this::runContainer)),
        reading(
            GET,
            "/v1/containers/{name}",
            Role.VIEWER,
            sending(request -> Views.container(daemon.systems().systems().view(name(request))))),
        changing(DELETE, "/v1/containers/{name}", Role.ADMIN, sending(this::removeContainer)),
        // What a container writes may be anybody's secret.
        reading(GET, "/v1/containers/{name}/log", Role.OPERATOR, sending(this::log)),
        reading(
            GET,
            "/v1/containers/{name}/stats",
            Role.VIEWER,
            sending(request -> Views.stats(daemon.systems().systems().stats(name(request))))),
        changing(POST, "/v1/containers/{name}/exec", Role.ADMIN, working(this::execute)),
        changing(POST, "/v1/containers/{name}/start", Role.OPERATOR, working(this::startContainer)),
        changing(POST, "/v1/containers/{name}/stop", Role.OPERATOR, working(this::stopContainer)),
        changing(
            POST,
            "/v1/containers/{name}/resume",
            Role.OPERATOR,
            sending(request -> done("resumed", request, daemon.systems()::resume))),
        changing(
            POST, "/v1/containers/{name}/relocations", Role.OPERATOR, working(this::relocate)));
  }

  private List<Route> volumeRoutes() {
    return List.of(
        reading(GET, "/v1/volumes", Role.VIEWER, sending(_ -> volumes())),
        changing(POST, "/v1/volumes", Role.ADMIN, sending(this::createVolume)),
        changing(
            DELETE,
            "/v1/volumes/{name}",
            Role.ADMIN,
            sending(request -> done("removed", request, daemon.systems()::removeVolume))));
  }

  private List<Route> recordRoutes() {
    return List.of(
        reading(GET, "/v1/history", Role.VIEWER, sending(this::history)),
        reading(GET, "/v1/audit", Role.ADMIN, sending(this::audit)));
  }

  private List<Route> releaseRoutes() {
    return List.of(
        reading(GET, "/v1/releases", Role.VIEWER, sending(_ -> releases())),
        changing(POST, "/v1/releases", Role.ADMIN, working(this::addRelease)),
        reading(
            GET, "/v1/releases/{name}", Role.VIEWER, sending(request -> release(name(request)))),
        changing(
            POST,
            "/v1/releases/{name}/verify",
            Role.ADMIN,
            sending(request -> verified(name(request)))),
        changing(
            DELETE,
            "/v1/releases/{name}",
            Role.ADMIN,
            sending(request -> done("removed", request, daemon::removeRelease))));
  }

  /// What a request asks for: who, its path's name, its body, and where to tell of progress.
  private record Job(
      Caller client, String name, JsonNode body, Progress progress, Rollout.Audience audience) {
    Fields fields() {
      return new Fields(body);
    }

    String text(String field) {
      return fields().text(field);
    }

    boolean flag(String field, boolean otherwise) {
      return fields().flag(field, otherwise);
    }

    int number(String field, int otherwise, int least, int most) {
      return fields().number(field, otherwise, least, most);
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
    return Views.guest(daemon.create(document, job.progress()));
  }

  private Object adopt(Job job) {
    int pid = job.number("pid", 0, 2, Integer.MAX_VALUE);
    if (pid == 0) {
      throw Problem.API_REQUEST.because("The request lacks 'pid'.");
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
    Duration patience = Duration.ofSeconds(job.number("patience_s", 0, 0, MAX_PATIENCE_SECONDS));
    job.progress().step("stop", "asking the guest to power off");
    return Views.guest(daemon.hyperplexor().stop(job.name(), patience));
  }

  private Object plan(Job job) {
    Release to = daemon.machines().whereToRun(job.text("to"));
    boolean rehearse = job.flag("rehearse", true);
    boolean stepClock = job.flag("step_clock", false);
    List<Check> checks =
        planned(
            job.client(), () -> daemon.plan(job.name(), to, rehearse, stepClock, job.progress()));
    return Map.of(
        "guest", job.name(),
        "to", to.name(),
        "possible", checks.stream().noneMatch(Check::failed),
        "checks", Views.checks(checks));
  }

  private Object replace(Job job) {
    Duration maxBlackout = Duration.ofMillis(job.number("max_blackout_ms", 1000, 1, 60_000));
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

  private Object planRollout(ServerRequest request) {
    GuestRollout.Order order = RolloutOrder.read(body(request), daemon.machines()::whereToRun);
    return Views.rollout(
        planned(Warden.caller(request), () -> daemon.hyperplexor().planRollout(order)));
  }

  private Object history(ServerRequest request) {
    int limit = limit(request);
    Optional<String> container = request.query().first("container").asOptional();
    if (container.isPresent()) {
      Optional<String> named = container.filter(name -> !name.equals("*"));
      return Map.of("relocations", daemon.history().read(History.Kind.RELOCATION, named, limit));
    }
    Optional<String> guest = request.query().first("guest").asOptional();
    return Map.of("replacements", daemon.history().read(History.Kind.REPLACEMENT, guest, limit));
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
    long mebibytes =
        job.fields()
            .number("memory_mib", VmSettings.DEFAULT_MEMORY_BYTES >> 20, 0, Long.MAX_VALUE >> 20);
    return daemon
        .machines()
        .view(
            daemon
                .machines()
                .create(
                    job.text("name"),
                    job.text("release"),
                    job.number("vcpus", 1, 0, 1024),
                    mebibytes << 20,
                    job.progress()));
  }

  private Object replaceMachine(Job job) {
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
    long mebibytes =
        job.fields()
            .number("memory_mib", VmSettings.DEFAULT_MEMORY_BYTES >> 20, 0, Long.MAX_VALUE >> 20);
    return os(
        daemon
            .systems()
            .create(
                job.text("name"),
                job.text("release"),
                job.number("vcpus", 1, 0, 1024),
                mebibytes << 20,
                job.progress()));
  }

  private Object replaceOs(Job job) {
    String to = job.text("to");
    if (job.flag("dry_run", false)) {
      return Views.relocations(daemon.systems().planReplace(job.name(), to));
    }
    Replaced<RelocationRecord> replaced =
        daemon.systems().replace(job.name(), to, RolloutOrder.pace(job.fields()), job.audience());
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("old", job.name());
    json.put("old_retired", replaced.retired());
    json.put("os", replaced.target());
    json.put("os_withdrawn", replaced.withdrawn());
    json.putAll(Views.relocations(replaced.rollout()));
    return json;
  }

  private Object containers() {
    Systems systems = daemon.systems().systems();
    return Map.of(
        "containers",
        systems.views().stream().map(Views::container).toList(),
        "left_over",
        systems.leftOvers());
  }

  private Object log(ServerRequest request) {
    Systems systems = daemon.systems().systems();
    // Before it is read: what an ended container has written is all there.
    boolean ended = systems.view(name(request)).state().hasEnded();
    ContainerLog log = systems.logOf(name(request));
    ContainerLog.Piece piece =
        request.query().first("after").asOptional().map(log::after).orElseGet(log::last);
    return Map.of("log", piece.text(), "next", piece.next(), "ended", ended);
  }

  private Object startContainer(Job job) {
    return Views.container(
        daemon.systems().start(job.name(), job.fields().optional("os"), job.progress()));
  }

  private Object deleteOs(ServerRequest request) {
    OsRoom systems = daemon.systems();
    return done("deleted", request, isForced(request) ? systems::kill : systems::delete);
  }

  private static boolean isForced(ServerRequest request) {
    return Optional.of("true").equals(request.query().first("force").asOptional());
  }

  private Object removeContainer(ServerRequest request) {
    daemon.systems().remove(name(request), isForced(request));
    return Map.of("removed", name(request));
  }

  private Object runContainer(Job job) {
    ContainerOrder order = ContainerOrder.read(job.body(), Api::path);
    OsRoom systems = daemon.systems();
    return Views.container(
        order.isImage()
            ? systems.runImage(order.spec(), order.restart(), order.os(), job.progress())
            : systems.run(order.spec(), order.restart(), order.os(), job.progress()));
  }

  private Object volumes() {
    return Map.of(
        "volumes", daemon.systems().systems().volumes().stream().map(Views::volume).toList());
  }

  private Object createVolume(ServerRequest request) {
    String name = new Fields(body(request)).text("name");
    daemon.systems().createVolume(name);
    return Map.of("created", name);
  }

  private Object execute(Job job) {
    List<String> command =
        job.body().path("command").valueStream().map(word -> word.asString("")).toList();
    Systems.Executed done = daemon.systems().systems().execute(job.name(), command);
    return Map.of("code", done.code(), "output", done.output());
  }

  private Object stopContainer(Job job) {
    int seconds = job.number("patience_s", 10, 0, MAX_PATIENCE_SECONDS);
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
                job.flag("health", true),
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
    return Warden.match(request).name();
  }

  private JsonNode body(ServerRequest request) {
    if (!request.content().hasEntity()) {
      throw Problem.API_REQUEST.because("The request has no body.");
    }
    try {
      byte[] bytes = request.content().as(byte[].class);
      gateway().asked(Warden.caller(request).connection());
      JsonNode body = REQUESTS.readTree(bytes);
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

  private void problem(ServerRequest request, ServerResponse response, HyperFreshException e) {
    response.status(e.problem().httpStatus());
    if (e.problem() == Problem.API_METHOD) {
      response.header("Allow", routes.allowed(request.prologue().uriPath().rawPath()));
    }
    response.header("Content-Type", "application/problem+json");
    response.send(JSON.writeValueAsBytes(Views.problem(e)));
  }

  /// What went wrong, in the catalogue's words.
  ///
  /// @throws CloseConnectionException when it is that the client has gone
  static HyperFreshException known(RuntimeException e) {
    return switch (e) {
      case HyperFreshException known -> known;
      case HttpException refused ->
          Problem.API_REQUEST.because(String.valueOf(refused.getMessage()), refused);
      case RequestException refused ->
          Problem.API_REQUEST.because(String.valueOf(refused.getMessage()), refused);
      case CloseConnectionException gone -> throw gone;
      case UncheckedIOException gone -> throw gone(gone);
      case SocketWriterException gone -> throw gone(gone);
      case DataReader.InsufficientDataAvailableException gone -> throw gone(gone);
      default -> {
        LOG.error("a request failed", e);
        yield Problem.INTERNAL.because(String.valueOf(e.getMessage()), e);
      }
    };
  }

  private static CloseConnectionException gone(RuntimeException e) {
    return new CloseConnectionException("the client has gone", e);
  }

  /// Answers with what `what` gives, which reads no body.
  Handler sending(Function<ServerRequest, Object> what) {
    return (request, response) -> {
      gateway().asked(Warden.caller(request).connection());
      send(response, what.apply(request));
    };
  }

  private static Object done(String word, ServerRequest request, Consumer<String> deed) {
    deed.accept(name(request));
    return Map.of(word, name(request));
  }

  /// Answers with what `job` says, as it comes.
  private Handler working(Function<Job, Object> job) {
    return (request, response) -> work(request, response, job);
  }

  /// Runs `job` and streams what it says. The body is read before the answer begins.
  private void work(ServerRequest request, ServerResponse response, Function<Job, Object> job) {
    String name = name(request);
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
        Object result = job.apply(new Job(Warden.caller(request), name, body, progress, audience));
        Warden.made(request, result);
        var _ = line(out, Map.of("result", result));
      } catch (RuntimeException e) {
        failed(request, out, known(e));
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
    } catch (IOException | UncheckedIOException | SocketWriterException e) {
      LOG.debug("the client has gone", e);
      return false;
    }
  }
}
