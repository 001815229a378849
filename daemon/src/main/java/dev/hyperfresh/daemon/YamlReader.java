package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.node.MissingNode;
import tools.jackson.dataformat.yaml.YAMLMapper;
import tools.jackson.dataformat.yaml.YAMLParser;

/// One reading of one document that a person wrote in YAML, a spec or a configuration. All its
/// faults are gathered.
abstract class YamlReader {
  /// The longest document that is read.
  static final int MAX_BYTES = 64 * 1024;

  private static final ObjectMapper YAML =
      YAMLMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  final JsonNode root;
  final Path base;
  final List<String> faults = new ArrayList<>();

  /// Where in the document it is read, in front of each key: nothing, or such as `disks[1].`.
  String at = "";

  /// @param base where relative paths start
  YamlReader(JsonNode root, Path base) {
    this.root = root;
    this.base = base;
  }

  /// What a text says; nothing where it has only comments.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException `malformed`, with the line
  static JsonNode tree(String text, Problem malformed) {
    if (text.getBytes(StandardCharsets.UTF_8).length > MAX_BYTES) {
      throw malformed.because("The document is longer than 64 KiB.");
    }
    try {
      refuseAliases(text, malformed);
      return Objects.requireNonNullElse(YAML.readTree(text), MissingNode.getInstance());
    } catch (JacksonException e) {
      var at = e.getLocation();
      throw malformed.because(
          (at == null ? "" : "Line " + at.getLineNr() + ": ") + e.getOriginalMessage(), e);
    }
  }

  // The tree would hold the name of the anchor in the place of what it stands for.
  private static void refuseAliases(String text, Problem malformed) {
    try (YAMLParser parser = (YAMLParser) YAML.createParser(text)) {
      while (parser.nextToken() != null) {
        if (parser.isCurrentAlias()) {
          throw malformed.because(
              "Line "
                  + parser.currentTokenLocation().getLineNr()
                  + ": aliases are not supported; write the value out.");
        }
      }
    }
  }

  final void unknownKeys(JsonNode node, Set<String> known, String where) {
    node.propertyNames().stream()
        .filter(key -> !known.contains(key))
        .forEach(key -> faults.add(where + "'" + key + "' is not a field"));
  }

  final String text(JsonNode node, String key, String otherwise) {
    return optionalText(node, key).orElse(otherwise);
  }

  final Optional<String> optionalText(JsonNode node, String key) {
    JsonNode value = node.path(key);
    if (value.isMissingNode() || value.isNull()) {
      return Optional.empty();
    }
    if (!value.isValueNode()) {
      faults.add(at + key + ": is not a plain value");
      return Optional.empty();
    }
    if (!value.isString()) {
      faults.add(at + key + ": is not a string; put it in quotes");
      return Optional.empty();
    }
    if (value.asString().isBlank() && !key.equals("cmdline")) {
      faults.add(at + key + ": is empty");
      return Optional.empty();
    }
    return Optional.of(value.asString());
  }

  final boolean flag(JsonNode node, String key) {
    JsonNode value = node.path(key);
    if (!value.isMissingNode() && !value.isNull() && !value.isBoolean()) {
      faults.add(at + key + ": is neither true nor false");
    }
    return value.asBoolean(false);
  }

  final Optional<Path> path(JsonNode node, String key) {
    try {
      return optionalText(node, key).map(text -> base.resolve(text).normalize());
    } catch (InvalidPathException e) {
      faults.add(at + key + ": is not a path: " + e.getMessage());
      return Optional.empty();
    }
  }

  final <E extends Enum<E>> E choice(E[] values, JsonNode node, String key, E otherwise) {
    return choice(values, value -> value.name().toLowerCase(Locale.ROOT), node, key, otherwise);
  }

  /// @param word what a value is called
  final <E extends Enum<E>> E choice(
      E[] values, Function<E, String> word, JsonNode node, String key, E otherwise) {
    Optional<String> wanted = optionalText(node, key);
    if (wanted.isEmpty()) {
      return otherwise;
    }
    for (E value : values) {
      if (word.apply(value).equals(wanted.get())) {
        return value;
      }
    }
    faults.add(
        at
            + key
            + ": '"
            + wanted.get()
            + "' is not one of "
            + String.join(", ", List.of(values).stream().map(word).toList()));
    return otherwise;
  }
}
