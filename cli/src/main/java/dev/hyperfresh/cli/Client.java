package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.DaemonConfig;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import io.helidon.http.Method;
import io.helidon.webclient.api.HttpClientRequest;
import io.helidon.webclient.api.HttpClientResponse;
import io.helidon.webclient.api.WebClient;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.UnixDomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.function.Supplier;
import tools.jackson.databind.JsonNode;

/// Speaks to the daemon of one state directory.
final class Client {
  private static final System.Logger LOG = System.getLogger(Client.class.getName());

  /// Longer than any fetch of packages.
  private static final Duration PATIENCE = Duration.ofHours(1);

  private static final String BROKEN =
      "It ended before its answer did. It may have done what it was asked to do:"
          + " `hyperfresh guest list` and `hyperfresh history` show it.";

  private final Path socket;

  Client(Path state) {
    this.socket = DaemonConfig.socket(state);
    if (!Files.exists(socket)) {
      throw absent();
    }
  }

  /// For one request: a connection that was kept could lead to a daemon that is gone.
  private WebClient connection() {
    return WebClient.builder()
        .baseAddress(UnixDomainSocketAddress.of(socket))
        .baseUri("http://localhost")
        .readTimeout(PATIENCE)
        .shareConnectionCache(false)
        .build();
  }

  private HyperFreshException absent() {
    return Problem.DAEMON_ABSENT.because("Nothing listens on " + socket + ".");
  }

  JsonNode get(String path) {
    return get(path, Map.of());
  }

  JsonNode get(String path, Map<String, String> query) {
    return once(Method.GET, path, query);
  }

  private JsonNode once(Method method, String path, Map<String, String> query) {
    WebClient http = connection();
    HttpClientRequest request = http.method(method).path(path);
    query.forEach(request::queryParam);
    try (HttpClientResponse response = sent(request::request)) {
      return checked(response, body(response));
    } finally {
      http.closeResource();
    }
  }

  JsonNode delete(String path) {
    return delete(path, Map.of());
  }

  JsonNode delete(String path, Map<String, String> query) {
    return once(Method.DELETE, path, query);
  }

  JsonNode post(String path, Map<String, ?> body) {
    WebClient http = connection();
    try (HttpClientResponse response = submit(http, path, body)) {
      return checked(response, body(response));
    } finally {
      http.closeResource();
    }
  }

  /// Asks for work and follows it to its result.
  JsonNode work(String path, Map<String, ?> body, Progress progress) {
    WebClient http = connection();
    Optional<JsonNode> result = Optional.empty();
    try (HttpClientResponse response = submit(http, path, body);
        BufferedReader lines =
            new BufferedReader(
                new InputStreamReader(response.inputStream(), StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        JsonNode message = Output.JSON.readTree(line);
        if (message.has("progress")) {
          JsonNode step = message.path("progress");
          String guest = step.path("guest").asString("");
          String text = step.path("text").asString("");
          progress.step(
              step.path("state").asString(""), guest.isEmpty() ? text : guest + ": " + text);
        } else if (message.has("result")) {
          result = Optional.of(message.path("result"));
          break;
        } else {
          throw problem(message.has("problem") ? message.path("problem") : message);
        }
      }
    } catch (IOException e) {
      if (result.isEmpty()) {
        throw broken(e);
      }
    } catch (RuntimeException e) {
      requireCutOff(e);
      // A daemon that gives way to a newer one ends right after its last answer.
      if (result.isEmpty()) {
        throw broken(e);
      }
    } finally {
      http.closeResource();
    }
    return result.orElseThrow(() -> Problem.DAEMON_ABSENT.because(BROKEN));
  }

  /// Reads an answer that does not end by itself, a line at a time, until its connection ends or
  /// `told` says that it has heard enough.
  void lines(String path, Map<String, String> query, Predicate<String> told) {
    WebClient http = connection();
    HttpClientRequest request = http.method(Method.GET).path(path);
    query.forEach(request::queryParam);
    try (HttpClientResponse response = sent(request::request)) {
      if (response.status().code() >= 400) {
        var _ = checked(response, body(response));
      }
      BufferedReader lines =
          new BufferedReader(new InputStreamReader(response.inputStream(), StandardCharsets.UTF_8));
      String line = lines.readLine();
      while (line != null && told.test(line)) {
        line = lines.readLine();
      }
    } catch (IOException e) {
      LOG.log(System.Logger.Level.DEBUG, "the answer was cut off", e);
    } catch (RuntimeException e) {
      requireCutOff(e);
      // The daemon has ended, or gives way to a newer one.
      LOG.log(System.Logger.Level.DEBUG, "the answer was cut off", e);
    } finally {
      http.closeResource();
    }
  }

  private static byte[] body(HttpClientResponse response) {
    try {
      return response.as(byte[].class);
    } catch (RuntimeException e) {
      requireCutOff(e);
      throw broken(e);
    }
  }

  /// Passes on whatever else went wrong.
  private static void requireCutOff(RuntimeException failure) {
    if (!CutOff.is(failure)) {
      throw failure;
    }
  }

  private static HyperFreshException broken(Exception cause) {
    return Problem.DAEMON_ABSENT.because(BROKEN, cause);
  }

  private HttpClientResponse submit(WebClient http, String path, Map<String, ?> body) {
    byte[] json = Output.JSON.writeValueAsBytes(body);
    return sent(() -> http.method(Method.POST).path(path).submit(json));
  }

  private HttpClientResponse sent(Supplier<HttpClientResponse> request) {
    try {
      return request.get();
    } catch (RuntimeException e) {
      requireCutOff(e);
      throw absent();
    }
  }

  private static JsonNode checked(HttpClientResponse response, byte[] body) {
    JsonNode json = Output.JSON.readTree(body);
    if (response.status().code() >= 400) {
      throw problem(json);
    }
    return json;
  }

  private static HyperFreshException problem(JsonNode json) {
    String code = json.path("code").asString("");
    return Arrays.stream(Problem.values())
        .filter(problem -> problem.code().equals(code))
        .findFirst()
        .orElse(Problem.API_REQUEST)
        .because(json.path("detail").asString(json.toString()));
  }
}
