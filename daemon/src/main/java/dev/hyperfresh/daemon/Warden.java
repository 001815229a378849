package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import io.helidon.webserver.ProxyProtocolV2Data;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.ServerRequest;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Stands before every route: lets a request through when its sender's role allows it, and writes
/// into the audit what changed something or was refused.
final class Warden {
  private static final Logger LOG = LoggerFactory.getLogger(Warden.class);
  private static final int MOST_NAMES = 1024;

  /// The number that no user has.
  private static final Caller NOBODY = new Caller(0, -1, Optional.empty());

  private static final Pattern NAMED = Pattern.compile("/v1/[a-z]+/([^/]+)(/.*)?");
  private static final String OK = "ok";

  private final Audit audit;
  private final Map<Integer, String> names = new ConcurrentHashMap<>();

  Warden(Audit audit) {
    this.audit = audit;
  }

  /// How a request ended. Its route may have begun to answer by then, so it is noted where it
  /// happens.
  private static final class Note {
    private volatile String object;
    private volatile String outcome = OK;
    private volatile String detail = "";

    Note(String object) {
      this.object = object;
    }
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

  /// The request made something, whose name its path could not hold.
  static void made(ServerRequest request, Object result) {
    if (result instanceof Map<?, ?> thing && thing.get("name") instanceof String name) {
      request.context().get(Note.class).ifPresent(note -> note.object = name);
    }
  }

  void filter(FilterChain chain, RoutingRequest request) {
    long start = System.nanoTime();
    Instant at = Instant.now();
    String method = request.prologue().method().text();
    String path = request.prologue().uriPath().rawPath();
    Caller caller = caller(request);
    Matcher named = NAMED.matcher(path);
    Note note = new Note(named.matches() ? named.group(1) : "");
    request.context().register(note);
    request.context().register(caller);
    Role needed = Role.needed(method, path);
    try {
      require(caller, needed);
      chain.proceed();
    } catch (HyperFreshException e) {
      failed(request, e);
      throw e;
    } finally {
      if (note.outcome.equals(Problem.API_ROLE.code()) || Role.changes(method, path)) {
        write(caller, note, at, (System.nanoTime() - start) / 1e6, method + " " + path);
      }
    }
  }

  /// For a route that must not depend on how its path was spelled.
  ///
  /// @throws HyperFreshException [Problem#API_ROLE]
  void require(ServerRequest request, Role needed) {
    require(request.context().get(Caller.class).orElse(NOBODY), needed);
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

  /// Without the gateway's word the sender is nobody.
  private static Caller caller(ServerRequest request) {
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
