package dev.hyperfresh.cli;

import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// The options that say how it is seen whether a new container works.
final class HealthOptions {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  @Option(
      names = "--health-cmd",
      paramLabel = "LINE",
      description = "Its health check: a line for its /bin/sh, or a JSON list of words.")
  private String command = "";

  @Option(
      names = "--health-interval",
      paramLabel = "TIME",
      defaultValue = "30s",
      description = "The time between the end of a check and the next (default: ${DEFAULT-VALUE}).")
  private String interval = "";

  @Option(
      names = "--health-timeout",
      paramLabel = "TIME",
      defaultValue = "10s",
      description = "A check that takes longer is killed and fails (default: ${DEFAULT-VALUE}).")
  private String timeout = "";

  @Option(
      names = "--health-retries",
      paramLabel = "N",
      defaultValue = "3",
      description = "Failures in a row that make it unhealthy (default: ${DEFAULT-VALUE}).")
  private int retries;

  @Option(
      names = "--health-start-period",
      paramLabel = "TIME",
      defaultValue = "0s",
      description = "Failures this soon after a start do not count (default: ${DEFAULT-VALUE}).")
  private String startPeriod = "";

  @Spec(Spec.Target.MIXEE)
  private @Nullable CommandSpec spec;

  /// Puts them into an order for the API, if there is to be a check.
  ///
  /// @throws ParameterException when one is no length of time
  void addTo(Map<String, Object> body) {
    if (!command.isEmpty()) {
      body.put("health", check(Objects.requireNonNull(spec)));
    }
  }

  private Map<String, Object> check(CommandSpec here) {
    return Map.of(
        "command",
        words().orElseGet(() -> List.of("/bin/sh", "-c", command)),
        "interval_ms",
        Period.parse(interval, here).toMillis(),
        "timeout_ms",
        Period.parse(timeout, here).toMillis(),
        "retries",
        retries,
        "start_ms",
        Period.parse(startPeriod, here).toMillis());
  }

  /// Those of a JSON list; a line may begin like one.
  private Optional<List<String>> words() {
    try {
      JsonNode list = JSON.readTree(command);
      boolean words = list.isArray() && list.valueStream().allMatch(JsonNode::isString);
      return Optional.of(list.valueStream().map(word -> word.asString("")).toList())
          .filter(_ -> words);
    } catch (JacksonException e) {
      return Optional.empty();
    }
  }
}
