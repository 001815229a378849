package dev.hyperfresh.testkit;

import dev.hyperfresh.linux.ChildProcess;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.UnixSocket;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.json.JsonMapper;

/// One QEMU of a rival and its control channel. It shares nothing with the product but system
/// calls; the sockets are not those of `java.nio`, which pass no descriptors. For one thread.
final class RivalMonitor {
  private static final ObjectMapper JSON = JsonMapper.shared();

  /// For the answer to a command, also on a busy host, and for the greeting of a QEMU that builds
  /// its machine first.
  private static final Duration PATIENCE = Duration.ofSeconds(20);

  private final ChildProcess process;
  private final UnixSocket socket;
  private final Deque<JsonNode> events = new ArrayDeque<>();
  private final Deque<JsonNode> answers = new ArrayDeque<>();
  private final ByteArrayOutputStream line = new ByteArrayOutputStream();
  private final byte[] chunk = new byte[16 * 1024];
  private int commands;

  /// A move did not come to its end in time.
  static final class TooLongException extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  /// A QEMU did not do its part.
  static final class TroubleException extends RuntimeException {
    private static final long serialVersionUID = 1;

    TroubleException(String why) {
      super(why);
    }

    TroubleException(String why, Throwable cause) {
      super(why, cause);
    }
  }

  /// This QEMU does not go that way on this host, and says why.
  static final class UnavailableException extends RuntimeException {
    private static final long serialVersionUID = 1;

    UnavailableException(String why) {
      super(why);
    }
  }

  /// @param path of the socket on which its control channel listens
  RivalMonitor(ChildProcess process, Path path) {
    this.process = process;
    this.socket = UnixSocket.connect(path);
    socket.receiveTimeout(PATIENCE);
  }

  int pid() {
    return process.pid();
  }

  /// Waits until it takes commands. Before that it tells no events either.
  void greet() {
    command("qmp_capabilities", Map.of());
  }

  /// Prepares it for a way.
  ///
  /// @param waiting whether it is the new one
  /// @throws UnavailableException when it refuses
  void set(RivalWay way, boolean waiting) {
    List<Map<String, Object>> on =
        Stream.concat(Stream.of("events"), way.capabilities().stream())
            .map(name -> Map.<String, Object>of("capability", name, "state", true))
            .toList();
    require("migrate-set-capabilities", Map.of("capabilities", on));
    if (!way.parameters(waiting).isEmpty()) {
      require("migrate-set-parameters", way.parameters(waiting));
    }
  }

  private void require(String name, Map<String, ?> arguments) {
    JsonNode answer = ask(name, arguments);
    if (!answer.has("return")) {
      throw new UnavailableException("QEMU says: " + complaint(answer));
    }
  }

  /// Sends a command and waits for what it returns.
  JsonNode command(String name, Map<String, ?> arguments, Fd... descriptors) {
    JsonNode answer = ask(name, arguments, descriptors);
    requireDone(name, answer);
    return answer.path("return");
  }

  private JsonNode ask(String name, Map<String, ?> arguments, Fd... descriptors) {
    int id = order(name, arguments, descriptors);
    while (true) {
      while (answers.isEmpty()) {
        read();
      }
      JsonNode answer = answers.removeFirst();
      if (answer.path("id").asInt(0) == id) {
        return answer;
      }
      requireDone("an order", answer);
    }
  }

  private static void requireDone(String name, JsonNode answer) {
    if (!answer.has("return")) {
      throw new TroubleException(name + " was refused: " + complaint(answer));
    }
  }

  private static String complaint(JsonNode answer) {
    return answer.path("error").path("desc").asString("nothing");
  }

  /// Sends a command whose answer nobody waits for. One that refuses it is thrown by a later
  /// command.
  ///
  /// @return what its answer is known by
  int order(String name, Map<String, ?> arguments, Fd... descriptors) {
    Map<String, Object> message = new HashMap<>();
    message.put("execute", name);
    message.put("id", ++commands);
    if (!arguments.isEmpty()) {
      message.put("arguments", arguments);
    }
    String text = JSON.writeValueAsString(message) + "\n";
    socket.send(text.getBytes(StandardCharsets.UTF_8), descriptors);
    return commands;
  }

  /// Forgets what has happened so far, such as its own arrival.
  void forgetEvents() {
    events.clear();
  }

  /// The hypervisor's own time of the next event of this name, microseconds since 1970. Events
  /// before it are forgotten.
  ///
  /// @param deadline by [System#nanoTime]
  long awaitEvent(String name, long deadline) {
    while (true) {
      JsonNode event = next(deadline);
      if (event.path("event").asString("").equals(name)) {
        return micros(event);
      }
      requireNotFailed(event, name);
    }
  }

  /// Waits until a migration has come to its end on this side; other events stay.
  ///
  /// @return when, by its own clock, microseconds since 1970
  long awaitCompleted(long deadline) {
    Deque<JsonNode> others = new ArrayDeque<>();
    while (true) {
      JsonNode event = next(deadline);
      requireNotFailed(event, "the end of the migration");
      if (status(event).equals("completed")) {
        others.addAll(events);
        events.clear();
        events.addAll(others);
        return micros(event);
      }
      others.addLast(event);
    }
  }

  private JsonNode next(long deadline) {
    while (events.isEmpty()) {
      Duration left = Duration.ofNanos(Math.max(0, deadline - System.nanoTime()));
      if (!socket.fd().pollReadable(left)) {
        throw new TooLongException();
      }
      read();
    }
    return events.removeFirst();
  }

  private static String status(JsonNode event) {
    return event.path("data").path("status").asString("");
  }

  private static void requireNotFailed(JsonNode event, String awaited) {
    String status = status(event);
    if (status.equals("failed") || status.equals("postcopy-paused")) {
      throw new TroubleException("instead of " + awaited + " came " + event);
    }
  }

  private static long micros(JsonNode event) {
    JsonNode at = event.path("timestamp");
    return at.path("seconds").asLong() * 1_000_000 + at.path("microseconds").asLong();
  }

  private void read() {
    int count = socket.receive(chunk, new ArrayList<>());
    if (count < 0) {
      throw new TroubleException("QEMU closed its control channel");
    }
    for (int i = 0; i < count; i++) {
      if (chunk[i] == '\n') {
        take(JSON.readTree(line.toByteArray()));
        line.reset();
      } else {
        line.write(chunk[i]);
      }
    }
  }

  private void take(JsonNode message) {
    if (message.has("event")) {
      events.addLast(message);
    } else if (!message.has("QMP")) {
      answers.addLast(message);
    }
  }

  /// Ends the QEMU, if that has not been done.
  void kill() {
    process.kill();
    process.waitFor();
    process.close();
    socket.close();
  }
}
