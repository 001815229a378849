package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import io.helidon.http.HttpPrologue;
import io.helidon.webserver.ProxyProtocolV2Data;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.databind.JsonNode;

/// Stands before every route: finds the one that is asked for, lets the request through to it when
/// its sender's role allows it, and writes into the audit what changed something or was refused.
final class Warden {
  private static final Logger LOG = LoggerFactory.getLogger(Warden.class);
  private static final int MOST_NAMES = 1024;

  /// Of the names of an object in the audit.
  private static final int MOST_CHARACTERS = 200;

  private static final String EVERY_GUEST = "all guests";

  /// The number that no user has.
  private static final Caller NOBODY = new Caller(0, -1, Optional.empty(), 0);

  private static final String OK = "ok";

  private final Audit audit;
  private final Routes routes;
  private final Map<Integer, String> names = new ConcurrentHashMap<>();

  Warden(Audit audit, Routes routes) {
    this.audit = audit;
    this.routes = routes;
  }

  /// How a request ended. Its route may have begun to answer by then, so it is noted where it
  /// happens.
  private static final class Note {
    private volatile String object = "";
    private volatile boolean audited;
    private volatile String outcome = OK;
    private volatile String detail = "";
  }

  /// The request ended with `problem`.
  static void failed(ServerRequest request, HyperFreshException problem) {
    request
        .context()
        .get(Note.class)
        .ifPresent(note -> {
          note.outcome = problem.problem().code();
          note.detail = problem.detail();
        });
  }

  /// What the body of a request names, where its path names nothing.
  static void asked(ServerRequest request, JsonNode body) {
    request
        .context()
        .get(Note.class)
        .filter(note -> note.object.isEmpty())
        .ifPresent(note -> note.object = named(body));
  }

  private static String named(JsonNode body) {
    String guests =
        body.path("all").asBoolean(false)
            ? EVERY_GUEST
            : String.join(
                " ", body.path("guests").valueStream().map(name -> name.asString("")).toList());
    String object = body.path("name").asString(guests);
    return object.length() <= MOST_CHARACTERS
        ? object
        : object.substring(0, MOST_CHARACTERS - 1) + "…";
  }

  /// The request made something, whose name its path could not hold.
  static void made(ServerRequest request, Object result) {
    if (result instanceof Map<?, ?> thing && thing.get("name") instanceof String name) {
      request.context().get(Note.class).ifPresent(note -> note.object = name);
    }
  }

  /// Has the route answer that `caller` asks for.
  ///
  /// @throws HyperFreshException [Problem#API_PATH], [Problem#API_UNKNOWN], [Problem#API_METHOD],
  ///   [Problem#API_ROLE] before any handler was reached; and what the handler throws
  void pass(Caller caller, ServerRequest request, ServerResponse response) {
    long start = System.nanoTime();
    Instant at = Instant.now();
    String method = request.prologue().method().text();
    String path = sentPath(request.prologue());
    Note note = new Note();
    request.context().register(note);
    try {
      Routes.Match match = find(caller, method, path);
      note.object = match.name();
      note.audited = match.route().audited();
      require(caller, match.route().role());
      request.context().register(match);
      answer(match.route(), request, response);
    } catch (RuntimeException e) {
      HyperFreshException known = Api.known(e);
      failed(request, known);
      throw known;
    } finally {
      if (note.audited || Audit.isRefusal(note.outcome)) {
        write(caller, note, at, (System.nanoTime() - start) / 1e6, method + " " + path);
      }
    }
  }

  private static void answer(Route route, ServerRequest request, ServerResponse response) {
    try {
      route.handler().handle(request, response);
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IllegalStateException("no handler throws this", e);
    }
  }

  /// What stands before the query, as it was sent.
  private static String sentPath(HttpPrologue prologue) {
    String path = prologue.uriPath().rawPath();
    return prologue.fragment().hasValue() ? path + "#" + prologue.fragment().rawValue() : path;
  }

  /// The route that is asked for. Whoever has no role is not told which there are.
  private Routes.Match find(Caller caller, String method, String path) {
    Routes.requireCanonical(path);
    try {
      return routes.find(method, path);
    } catch (HyperFreshException none) {
      require(caller, Role.VIEWER);
      throw none;
    }
  }

  /// The route that answers `request`.
  static Routes.Match match(ServerRequest request) {
    return request.context().get(Routes.Match.class).orElseThrow();
  }

  private void require(Caller caller, Role needed) {
    if (!caller.may(needed)) {
      throw refusal(caller, needed);
    }
  }

  private HyperFreshException refusal(Caller caller, Role needed) {
    String uid = Integer.toUnsignedString(caller.uid());
    String name = name(caller.uid());
    return Problem.API_ROLE.because(
        "User "
            + (name.equals(uid) ? uid : name + " (" + uid + ")")
            + " has "
            + caller.role().map(role -> "the role " + role.label()).orElse("no role")
            + "; this needs the role "
            + needed.label()
            + ".");
  }

  /// Who sent `request`: without the gateway's word, nobody.
  static Caller caller(ServerRequest request) {
    return request
        .proxyProtocolData()
        .filter(ProxyProtocolV2Data.class::isInstance)
        .map(ProxyProtocolV2Data.class::cast)
        .flatMap(data ->
            data.tlvs().stream()
                .filter(ProxyProtocolV2Data.Tlv.Unregistered.class::isInstance)
                .map(ProxyProtocolV2Data.Tlv.Unregistered.class::cast)
                .filter(tlv -> tlv.type() == Caller.TLV_TYPE)
                .findFirst())
        .map(tlv -> Caller.parse(tlv.value()))
        .orElse(NOBODY);
  }

  private void write(Caller caller, Note note, Instant at, double durationMs, String what) {
    try {
      audit.add(
          new Audit.Row(
              at,
              durationMs,
              caller.uid(),
              name(caller.uid()),
              caller.pid(),
              caller.role().map(Role::label).orElse("none"),
              what,
              note.object,
              note.outcome,
              note.detail));
    } catch (HyperFreshException e) {
      // What was done is done; the daemon's log has it at least.
      LOG.error("not audited: uid {} {} {}", caller.uid(), what, note.outcome, e);
    }
  }

  /// Looking a name up takes a process, so those seen are kept.
  private String name(int uid) {
    if (names.size() > MOST_NAMES) {
      names.clear();
    }
    return names.computeIfAbsent(uid, Roles::userName);
  }
}
