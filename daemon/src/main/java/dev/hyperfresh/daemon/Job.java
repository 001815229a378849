package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hyperplexor.Rollout;
import tools.jackson.databind.JsonNode;

/// Work that a request asks for.
///
/// @param client who asks
/// @param name in the request's path, or empty
/// @param body a JSON object
/// @param progress where to tell of steps; a client that has gone does not end the work
/// @param audience where to tell of the steps of many
record Job(
    Caller client, String name, JsonNode body, Progress progress, Rollout.Audience audience) {
  Fields fields() {
    return new Fields(body);
  }

  String text(String field) {
    return fields().text(field);
  }

  boolean flag(String field, boolean otherwise) {
    return fields().flag(field, otherwise);
  }

  int number(String field, int otherwise, int least, int most) {
    return fields().number(field, otherwise, least, most);
  }
}
