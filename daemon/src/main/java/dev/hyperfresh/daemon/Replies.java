package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// How requests are read and answered: with one JSON document, or with the lines of work that takes
/// its time. Thread-safe.
final class Replies {
  private static final Logger LOG = LoggerFactory.getLogger(Replies.class);

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

  /// Dry runs of a user that are under way at a time.
  private static final int MOST_PLANS = 2;

  private final Supplier<Gateway> gateway;

  /// Dry runs that are under way.
  private final UserQuota planning = new UserQuota();

  /// @param gateway through which requests come; asked for only when one is answered
  Replies(Supplier<Gateway> gateway) {
    this.gateway = gateway;
  }

  /// Answers with what `what` gives, which reads no body.
  Handler sending(Function<ServerRequest, Object> what) {
    return (request, response) -> {
      asked(request);
      send(response, what.apply(request));
    };
  }

  /// Answers with what `what` gives to the body, a JSON object.
  Handler sendingFor(Function<JsonNode, Object> what) {
    return (request, response) -> send(response, what.apply(body(request)));
  }

  /// Answers with what `deed` was done to: the name in the request's path.
  Handler done(String word, Consumer<String> deed) {
    return sending(request -> {
      deed.accept(name(request));
      return Map.of(word, name(request));
    });
  }

  /// Answers with what `job` says, as it comes.
  Handler working(Function<Job, Object> job) {
    return (request, response) -> work(request, response, job);
  }

  /// The whole request has been read.
  void asked(ServerRequest request) {
    gateway.get().asked(Warden.caller(request).connection());
  }

  /// Does what is worth doing only for a client that waits for it: when it goes away, the thread is
  /// interrupted.
  <T> T whileAwaited(Caller client, Supplier<T> work) {
    Thread worker = Thread.currentThread();
    try (Gateway.Watch _ = gateway.get().watch(client.connection(), worker::interrupt)) {
      return work.get();
    } finally {
      var _ = Thread.interrupted();
    }
  }

  /// As [#whileAwaited], for a dry run.
  ///
  /// @throws HyperFreshException [Problem#PLAN_BUSY]
  <T> T planned(Caller client, Supplier<T> plan) {
    try (UserQuota.Share _ =
        planning
            .take(client.uid(), MOST_PLANS)
            .orElseThrow(() ->
                Problem.PLAN_BUSY.because(MOST_PLANS + " dry runs of this user are under way."))) {
      return whileAwaited(client, plan);
    }
  }

  /// The name in the path of a request, or empty.
  static String name(ServerRequest request) {
    return Warden.match(request).name();
  }

  /// @throws HyperFreshException [Problem#API_REQUEST] when it is no absolute path
  static Path path(String text) {
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

  /// The body of a request, after which it is served.
  ///
  /// @throws HyperFreshException [Problem#API_REQUEST] when it is no JSON object
  JsonNode body(ServerRequest request) {
    if (!request.content().hasEntity()) {
      throw Problem.API_REQUEST.because("The request has no body.");
    }
    try {
      byte[] bytes = request.content().as(byte[].class);
      asked(request);
      JsonNode body = REQUESTS.readTree(bytes);
      if (body != null && body.isObject()) {
        new Fields(body).requireOnly(Warden.match(request).route().fields());
        Warden.asked(request, body);
        return body;
      }
      throw Problem.API_REQUEST.because("The body is not a JSON object.");
    } catch (JacksonException e) {
      throw Problem.API_REQUEST.because("The body is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /// Answers with a JSON document.
  static void send(ServerResponse response, Object json) {
    response.header("Content-Type", "application/json");
    response.send(Api.JSON.writeValueAsBytes(json));
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
        failed(request, out, Api.known(e));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void failed(ServerRequest request, OutputStream out, HyperFreshException e) {
    Warden.failed(request, e);
    var _ = line(out, Map.of("problem", Views.problem(e)));
  }

  private static boolean line(OutputStream out, Object json) {
    return write(out, Api.JSON.writeValueAsString(json) + "\n");
  }

  /// Writes a piece of an answer at once. A client that has gone away does not stop the work that
  /// it asked for.
  ///
  /// @return false when it has gone
  static boolean write(OutputStream out, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
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
