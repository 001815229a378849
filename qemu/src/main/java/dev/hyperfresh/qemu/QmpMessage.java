package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Printable;
import dev.hyperfresh.linux.Clock;
import java.nio.charset.StandardCharsets;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// One message of the QEMU Machine Protocol, as `docs/interop/qmp-spec` defines it. The peer is not
/// trusted: size, number of values, nesting and shape are bounded here, and nothing else reads its
/// bytes.
sealed interface QmpMessage {
  /// The longest line a peer may send. The longest answer of a full build that is asked for here,
  /// `query-cpu-definitions` of QEMU 10.0, has 41 KiB.
  int MAX_LINE_BYTES = 1 << 20;

  /// How many names, values and brackets a message may have; that answer has 4000. As a tree, each
  /// takes some tens of bytes.
  int MAX_TOKENS = 100_000;

  /// The longest description of a refusal that is kept, in characters: it is shown to people and
  /// written down.
  int MAX_DESCRIPTION = 1000;

  ObjectMapper JSON =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(64)
                          .maxTokenCount(MAX_TOKENS)
                          .maxStringLength(1 << 20)
                          .maxNumberLength(64)
                          .build())
                  .build())
          .build();

  /// What [ControlWatcher#received] calls the message.
  String name();

  /// The first message of a server.
  record Greeting(String version) implements QmpMessage {
    @Override
    public String name() {
      return "greeting";
    }
  }

  /// The success of a command.
  record Success(String id, JsonNode value) implements QmpMessage {
    @Override
    public String name() {
      return "return";
    }
  }

  /// The failure of a command.
  record Failure(String id, String kind, String description) implements QmpMessage {
    @Override
    public String name() {
      return "error";
    }
  }

  /// Something that happened in the hypervisor.
  ///
  /// @param atMicros the peer's wall clock, microseconds since 1970; the time of its arrival when
  ///   the peer has none
  record Event(String name, long atMicros, JsonNode data) implements QmpMessage {}

  /// The peer broke the protocol.
  final class MalformedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    MalformedException(String message) {
      super(message);
    }
  }

  /// Decodes one line.
  ///
  /// @throws MalformedException for anything that is not a message of the protocol
  static QmpMessage decode(byte[] line, int offset, int length) {
    JsonNode root;
    try {
      root = JSON.readTree(line, offset, length);
    } catch (JacksonException e) {
      throw new MalformedException("not JSON: " + e.getOriginalMessage());
    }
    if (root == null || !root.isObject()) {
      throw new MalformedException("not a JSON object: " + excerpt(line, offset, length));
    }
    if (root.has("event")) {
      return event(root);
    }
    if (root.has("return")) {
      return new Success(root.path("id").asString(""), root.path("return"));
    }
    if (root.has("error")) {
      JsonNode error = root.path("error");
      return new Failure(
          root.path("id").asString(""),
          error.path("class").asString("GenericError"),
          cut(error.path("desc").asString("no description")));
    }
    if (root.path("QMP").isObject()) {
      JsonNode version = root.path("QMP").path("version").path("qemu");
      return new Greeting(
          version.path("major").asInt(0)
              + "."
              + version.path("minor").asInt(0)
              + "."
              + version.path("micro").asInt(0));
    }
    throw new MalformedException("no known member: " + excerpt(line, offset, length));
  }

  private static Event event(JsonNode root) {
    return new Event(
        root.path("event").asString(""), micros(root.path("timestamp")), root.path("data"));
  }

  private static long micros(JsonNode stamp) {
    long seconds = stamp.path("seconds").asLong(0);
    long micros = stamp.path("microseconds").asLong(0);
    // qmp-spec: both members are -1 when the host's time could not be had.
    if (seconds == -1 && micros == -1) {
      return Clock.realtimeNanos() / 1000;
    }
    if (seconds < 0 || seconds > Long.MAX_VALUE / 2_000_000 || micros < 0 || micros > 999_999) {
      throw new MalformedException("timestamp out of range: " + seconds + " s " + micros + " us");
    }
    return seconds * 1_000_000 + micros;
  }

  private static String cut(String said) {
    String description = Printable.of(said);
    return description.length() > MAX_DESCRIPTION
        ? description.substring(0, MAX_DESCRIPTION) + "…"
        : description;
  }

  private static String excerpt(byte[] line, int offset, int length) {
    return new String(line, offset, Math.min(length, 80), StandardCharsets.UTF_8);
  }
}
