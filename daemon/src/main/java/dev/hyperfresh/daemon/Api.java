package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.MissingCallException;
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
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.helidon.webserver.http1.Http1Config;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
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

  /// Of a request's first line. Its path has at most [Routes#MOST_PATH] characters.
  private static final int MAX_LINE_BYTES = 2048;

  /// Of all header lines of a request.
  private static final int MAX_HEADER_BYTES = 8192;

  /// How long requests that are being answered may take to their end when the daemon ends.
  private static final Duration LAST_ANSWERS = Duration.ofSeconds(1);

  private final Daemon daemon;
  private final Replies replies = new Replies(this::gateway);
  private final Routes routes;

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

  Replies replies() {
    return replies;
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
      daemon.stream().close();
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
          "some clients do not get their whole answer: their requests take longer than {}",
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
    return Objects.requireNonNull(gateway, "a request came before the gateway was there");
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
    String detail = message == null ? "It is not an HTTP request." : message;
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
      throw new CloseConnectionException("the client asked for it");
    }
  }

  private void routes(HttpRouting.Builder routes) {
    Warden warden = new Warden(daemon.audit(), this.routes);
    routes.addFilter((_, request, response) -> answer(warden, request, response));
  }

  /// All that can be asked for, who may, and what is written down of it. What a role may is decided
  /// in these alone.
  private List<Route> table() {
    return Stream.of(
            new GuestRoutes(daemon, replies).routes(),
            new LibvirtRoutes(daemon.libvirt(), replies).routes(),
            new MachineRoutes(daemon, replies).routes(),
            new OsRoutes(daemon.systems(), replies).routes(),
            new ContainerRoutes(daemon.systems(), replies).routes(),
            new ReleaseRoutes(daemon.releaseKinds(), replies).routes(),
            new RecordRoutes(daemon.history(), daemon.audit(), replies).routes(),
            new EventRoutes(daemon.stream(), daemon.metrics(), replies).routes())
        .flatMap(List::stream)
        .toList();
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
      case MissingCallException missing -> Problem.unexpected(missing);
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
}
