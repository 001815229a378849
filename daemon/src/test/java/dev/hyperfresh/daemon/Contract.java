package dev.hyperfresh.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;
import tools.jackson.dataformat.yaml.YAMLMapper;

/// `docs/openapi.yaml`, held against what a daemon says.
final class Contract {
  private static final Path FILE = Path.of("..", "docs", "openapi.yaml");
  private static final JsonNode DOCUMENT = read();
  private static final SchemaRegistry SCHEMAS =
      SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);

  private Contract() {}

  private static JsonNode read() {
    try {
      return YAMLMapper.builder().build().readTree(Files.readString(FILE));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static JsonNode paths() {
    return DOCUMENT.path("paths");
  }

  static JsonNode schema(String name) {
    return DOCUMENT.path("components").path("schemas").path(name);
  }

  /// The name of the schema of an operation's body, if it has one.
  static Optional<JsonNode> bodyOf(JsonNode operation) {
    JsonNode schema =
        operation.path("requestBody").path("content").path("application/json").path("schema");
    return Optional.of(schema.path("$ref").asString(""))
        .filter(ref -> !ref.isEmpty())
        .map(ref -> schema(ref.substring(ref.lastIndexOf('/') + 1)));
  }

  /// Fails unless `value` is as the schema of that name says.
  static void requireFits(String name, JsonNode value) {
    ObjectNode schema = Api.JSON.createObjectNode();
    schema.put("$ref", "#/components/schemas/" + name);
    requireFits(schema, value);
  }

  private static void requireFits(JsonNode schema, JsonNode value) {
    ObjectNode whole = (ObjectNode) schema.deepCopy();
    whole.set("components", DOCUMENT.path("components"));
    assertThat(SCHEMAS.getSchema(whole).validate(value)).as(value.toString()).isEmpty();
  }

  /// Fails unless an answer is one that the contract has for what was asked.
  static void requireFits(String method, String path, RawHttp.Answer answer) {
    if (answer.type().equals("application/problem+json")) {
      requireFits("Problem", answer.json());
      assertThat(answer.status()).isEqualTo(answer.json().path("status").asInt());
      return;
    }
    if (answer.status() == 0) {
      // The connection was cut.
      return;
    }
    JsonNode operation = operation(method, path.replaceFirst("\\?.*", ""));
    JsonNode content =
        operation
            .path("responses")
            .path(Integer.toString(answer.status()))
            .path("content")
            .path(answer.type().replaceFirst(";.*", ""));
    assertThat(content.isMissingNode()).as(method + " " + path + ": " + answer).isFalse();
    switch (answer.type()) {
      case "application/json" -> requireFits(content.path("schema"), answer.json());
      case "application/x-ndjson" -> {
        for (String line : answer.body().lines().toList()) {
          requireFits(content.path("itemSchema"), Api.JSON.readTree(line));
        }
      }
      default -> {}
    }
  }

  private static JsonNode operation(String method, String path) {
    List<String> all =
        paths().propertyNames().stream()
            .filter(template ->
                Pattern.matches(template.replace("{name}", "[^/]+").replace(".", "\\."), path))
            .toList();
    assertThat(all).as(path).hasSize(1);
    return paths().path(all.getFirst()).path(method.toLowerCase(Locale.ROOT));
  }
}
