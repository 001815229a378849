package dev.hyperfresh.cli;

import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.dataformat.yaml.YAMLMapper;
import tools.jackson.dataformat.yaml.YAMLWriteFeature;

/// How results are printed. The names are those that `-o` takes; `docs/JSON.md` explains them.
enum Format {
  /// A table or sentences, for people.
  table,
  /// One line of JSON.
  json,
  /// One document of YAML, with the same fields.
  yaml,
  /// The names of the things in the result, one a line.
  name;

  private static final ObjectMapper YAML =
      YAMLMapper.builder()
          .enable(
              YAMLWriteFeature.MINIMIZE_QUOTES, YAMLWriteFeature.ALWAYS_QUOTE_NUMBERS_AS_STRINGS)
          .build();

  /// The fields that hold the name of a thing, or of what it is about; the first one counts.
  private static final List<String> NAMES =
      List.of("name", "guest", "container", "subject", "object");

  /// Prints a result for a program, as [#table] nothing.
  ///
  /// @return whether it did
  boolean print(Object result) {
    JsonNode tree = Output.JSON.valueToTree(result);
    switch (this) {
      case table -> {
        return false;
      }
      case json -> System.out.println(Output.JSON.writeValueAsString(tree));
      case yaml -> System.out.print(YAML.writeValueAsString(tree));
      case name -> names(tree).forEach(System.out::println);
    }
    return true;
  }

  /// The name of a thing, those in the first list of things, or the only word of an answer.
  static List<String> names(JsonNode result) {
    Optional<String> own =
        NAMES.stream()
            .filter(field -> result.path(field).isString())
            .findFirst()
            .map(field -> result.path(field).asString());
    if (own.isPresent()) {
      return List.of(own.get());
    }
    Optional<JsonNode> things = result.valueStream().filter(Format::isListOfThings).findFirst();
    if (things.isPresent()) {
      return things.get().valueStream().flatMap(thing -> names(thing).stream()).toList();
    }
    return result.size() == 1
        ? result.valueStream().filter(JsonNode::isString).map(JsonNode::asString).toList()
        : List.of();
  }

  private static boolean isListOfThings(JsonNode value) {
    return value.isArray() && value.valueStream().allMatch(JsonNode::isObject) && !value.isEmpty();
  }
}
