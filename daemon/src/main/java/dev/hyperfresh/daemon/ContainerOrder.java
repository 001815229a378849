package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.relocation.ContainerSpec;
import dev.hyperfresh.relocation.HealthCheck;
import dev.hyperfresh.relocation.RestartPolicy;
import dev.hyperfresh.relocation.VolumeMount;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import tools.jackson.databind.JsonNode;

/// The request for a container, read from its JSON: `name`, `os`, `bundle` or `image`, and if given
/// `restart`, `address`, `gateway`, `address6`, `gateway6`, `dns`, `bridge`, `volumes` (each
/// `NAME:PATH` or `NAME:PATH:ro`) and `health` (`command`, `interval_ms`, `timeout_ms`, `retries`,
/// `start_ms`).
///
/// @param isImage whether the spec names an image, not a bundle
record ContainerOrder(ContainerSpec spec, RestartPolicy restart, String os, boolean isImage) {
  private static final List<String> HEALTH =
      List.of("command", "interval_ms", "timeout_ms", "retries", "start_ms");

  /// @param paths makes a path of a text
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST],
  ///   [Problem#CONTAINER_SPEC]
  static ContainerOrder read(JsonNode body, Function<String, Path> paths) {
    boolean image = body.has("image");
    if (image && body.has("bundle")) {
      throw Problem.API_REQUEST.because("A container needs either a bundle or an image.");
    }
    Fields fields = new Fields(body);
    ContainerSpec spec =
        new ContainerSpec(
            fields.text("name"),
            paths.apply(fields.text(image ? "image" : "bundle")),
            network(fields),
            fields.texts("volumes").stream().map(ContainerOrder::volume).toList(),
            health(body.path("health")));
    return new ContainerOrder(spec, restart(fields), fields.text("os"), image);
  }

  private static Optional<ContainerSpec.Network> network(Fields fields) {
    ContainerSpec.Network network =
        new ContainerSpec.Network(
            fields.optional("address"),
            fields.optional("gateway"),
            fields.optional("bridge"),
            fields.optional("address6"),
            fields.optional("gateway6"),
            fields.texts("dns"));
    return Optional.of(network).filter(asked -> !asked.equals(ContainerSpec.Network.NONE));
  }

  private static RestartPolicy restart(Fields fields) {
    String text = fields.optional("restart").orElse("no");
    return RestartPolicy.parse(text)
        .orElseThrow(() ->
            Problem.CONTAINER_SPEC.because(
                "restart: '" + text + "' is not one of no, on-failure, on-failure:N, always"));
  }

  private static VolumeMount volume(String text) {
    return VolumeMount.parse(text)
        .orElseThrow(() ->
            Problem.CONTAINER_SPEC.because(
                "volume: '" + text + "' is not of the form NAME:PATH or NAME:PATH:ro"));
  }

  private static Optional<HealthCheck> health(JsonNode body) {
    if (body.isMissingNode()) {
      return Optional.empty();
    }
    if (!body.isObject()) {
      throw Problem.API_REQUEST.because("'health' is not an object.");
    }
    Fields fields = new Fields(body);
    fields.requireOnly(HEALTH);
    List<String> command = fields.texts("command");
    return Optional.of(
        new HealthCheck(
            command,
            millis(fields, "interval_ms", HealthCheck.INTERVAL),
            millis(fields, "timeout_ms", HealthCheck.TIMEOUT),
            fields.number("retries", HealthCheck.RETRIES, Integer.MIN_VALUE, Integer.MAX_VALUE),
            millis(fields, "start_ms", Duration.ZERO)));
  }

  /// [ContainerSpec#faults] says what is out of range.
  private static Duration millis(Fields fields, String field, Duration otherwise) {
    return Duration.ofMillis(
        fields.number(field, otherwise.toMillis(), Long.MIN_VALUE, Long.MAX_VALUE));
  }
}
