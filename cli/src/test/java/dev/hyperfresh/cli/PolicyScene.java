package dev.hyperfresh.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;

/// A host whose QEMU was upgraded, its policy file, and a daemon with three guests.
@Timeout(60)
abstract class PolicyScene {
  static final String ROLLOUT = "POST /v1/rollouts";
  static final Instant SATURDAY = Instant.parse("2026-11-07T03:00:00Z");
  static final String WINDOW = "window: Sat 02:00-05:00\n";

  @TempDir Path root;
  @TempDir Path state;
  QemuHost host;
  FakeDaemon daemon;
  Path file;
  Instant now = SATURDAY;
  InstantSource clock = () -> now;

  @BeforeEach
  void upgrade() throws IOException {
    host = new QemuHost(root, state);
    host.program("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)");
    Path copy = root.resolve("copy/qemu-system-x86_64");
    QemuHost.copy(QemuHost.OLD, copy);
    host.release("7.2.21", copy, List.of(), "Debian package qemu-system-x86 1:7.2+dfsg-7+deb12u17");
    for (int pid = 1; pid <= 3; pid++) {
      host.process(pid, copy, "-name", "guest=any");
    }
    file = root.resolve("policy.yaml");
    daemon = new FakeDaemon(state);
    daemon.answering("GET /v1/guests", guests("web1", "web2", "db1"));
    daemon.answering("GET /v1/machines", "{\"machines\":[]}");
    daemon.answering("GET /v1/os", "{\"os\":[]}");
    for (String guest : List.of("web1", "web2", "db1")) {
      moved(guest);
    }
  }

  /// The replacements that the history has of a guest, newest first, each as `id outcome`.
  void moved(String guest, String... records) {
    List<String> all = new ArrayList<>();
    for (String record : records) {
      String[] words = record.split(" ", 2);
      // Whatever the clock said, it is the identity that tells a new one.
      all.add(
          "{\"id\":\"%s\",\"guest\":\"%s\",\"started_at\":\"2001-01-01T00:00:00Z\",\"outcome\":\"%s\",\"to\":\"b\"}"
              .formatted(words[0], guest, words[1]));
    }
    daemon.answering(
        "GET /v1/history?guest=" + guest, "{\"replacements\":[" + String.join(",", all) + "]}");
  }

  @AfterEach
  void close() {
    daemon.close();
  }

  static String guests(String... names) {
    List<String> guests = new ArrayList<>();
    for (String name : names) {
      guests.add(
          "{\"name\":\"%s\",\"pid\":%d,\"state\":\"running\",\"kind\":\"process\",\"release\":\"qemu-7.2.21\"}"
              .formatted(name, guests.size() + 1));
    }
    return "{\"guests\":[" + String.join(",", guests) + "]}";
  }

  static String rollout(String stopped, String... outcomes) {
    List<String> entries = new ArrayList<>();
    for (String outcome : outcomes) {
      String[] words = outcome.split(" ", 2);
      entries.add(
          """
          {"guest":"%s","from":"qemu-7.2.21","outcome":"%s","problem":"","detail":"",
          "replacement":{"blackout_ms":12.5}}\
          """
              .formatted(words[0], words[1])
              .replace("\n", ""));
    }
    return "{\"to\":\"qemu-7.2.22+deb12u18\",\"stopped\":\"%s\",\"misses\":[],\"guests\":[%s]}"
        .formatted(stopped, String.join(",", entries));
  }

  static String result(String rollout) {
    return "{\"result\":" + rollout + "}\n";
  }

  Said apply(String policy, String... arguments) {
    write(policy);
    List<String> all = new ArrayList<>(List.of(file.toString(), "--state", state.toString()));
    all.addAll(List.of(arguments));
    CommandLine line = line();
    return Said.of(() -> line.execute(all.toArray(String[]::new)));
  }

  CommandLine line() {
    CommandLine line = new CommandLine(new PolicyCommand.Apply(root, clock, ZoneOffset.UTC));
    line.setExecutionExceptionHandler(Main::report);
    return line;
  }

  void write(String policy) {
    try {
      Files.writeString(file, policy);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// What was asked of that route, in order.
  List<JsonNode> asked(String route) {
    return daemon.requests.stream()
        .filter(request -> request.startsWith(route + "\n"))
        .map(request -> Output.JSON.readTree(request.substring(route.length() + 1)))
        .toList();
  }

  static List<String> names(JsonNode order) {
    return order.path("guests").valueStream().map(JsonNode::asString).toList();
  }
}
