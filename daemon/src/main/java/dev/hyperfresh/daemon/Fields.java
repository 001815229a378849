package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// The fields of a request's body. One that is there and not what it should be is a fault, and
/// never taken for one that is missing.
record Fields(JsonNode body) {
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST] when there is none
  String text(String field) {
    return optional(field)
        .orElseThrow(() -> Problem.API_REQUEST.because("The request lacks '" + field + "'."));
  }

  /// A text, unless it is missing or empty.
  Optional<String> optional(String field) {
    JsonNode value = body.path(field);
    if (!value.isMissingNode() && !value.isNull() && !value.isString()) {
      throw Problem.API_REQUEST.because("'" + field + "' is not a string.");
    }
    return Optional.of(value.asString("")).filter(text -> !text.isEmpty());
  }

  /// A list of texts; empty when it is missing.
  List<String> texts(String field) {
    JsonNode value = body.path(field);
    boolean texts = value.isArray() && value.valueStream().allMatch(JsonNode::isString);
    if (!value.isMissingNode() && !texts) {
      throw Problem.API_REQUEST.because("'" + field + "' is not a list of strings.");
    }
    return value.valueStream().map(JsonNode::stringValue).toList();
  }

  /// Refuses fields of another name: what is spelled wrong would be as good as missing.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_REQUEST]
  void requireOnly(List<String> known) {
    body.propertyNames().stream()
        .filter(name -> !known.contains(name))
        .sorted()
        .findFirst()
        .ifPresent(name -> {
          throw Problem.API_REQUEST.because(
              "The request has '"
                  + name
                  + "', which is not one of: "
                  + String.join(", ", known)
                  + ".");
        });
  }

  boolean flag(String field, boolean otherwise) {
    JsonNode value = body.path(field);
    if (!value.isMissingNode() && !value.isBoolean()) {
      throw Problem.API_REQUEST.because("'" + field + "' is not true or false.");
    }
    return value.asBoolean(otherwise);
  }

  int number(String field, int otherwise, int least, int most) {
    return (int) number(field, (long) otherwise, least, most);
  }

  long number(String field, long otherwise, long least, long most) {
    JsonNode value = body.path(field);
    if (value.isMissingNode()) {
      return otherwise;
    }
    boolean whole = value.isIntegralNumber() && value.canConvertToLong();
    if (!whole || value.longValue() < least || value.longValue() > most) {
      throw Problem.API_REQUEST.because(
          "'" + field + "' is not a whole number between " + least + " and " + most + ".");
    }
    return value.longValue();
  }
}
