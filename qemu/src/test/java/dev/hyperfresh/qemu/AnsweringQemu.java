package dev.hyperfresh.qemu;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import tools.jackson.databind.JsonNode;

/// A QEMU 7.2 that answers what it was told to, and refuses what it was not. Of lists it has empty
/// ones.
final class AnsweringQemu implements MachineIdentity.Respondent {
  static final String PORT = "pcie-root-port,id=rp0,chassis=1,slot=1";

  private static final String HMP = "human-monitor-command";

  private final Map<String, String> answers = new HashMap<>();
  private final Map<String, StringBuilder> lists = new HashMap<>();

  AnsweringQemu() {
    for (String question :
        new String[] {
          "query-named-block-nodes", "query-block", "query-chardev", "query-hotpluggable-cpus"
        }) {
      answers.put(question, "[]");
    }
    answers.put("query-blockstats", "[]");
    answers.put("x-debug-query-block-graph", "{\"nodes\":[],\"edges\":[]}");
  }

  /// Has a command answer.
  AnsweringQemu says(String command, String json) {
    answers.put(command, json);
    return this;
  }

  /// Has a line of the monitor for people answer.
  AnsweringQemu tells(String line, String... rows) {
    String text = String.join("\r\n", rows) + "\r\n";
    answers.put(HMP + " " + line, QmpMessage.JSON.writeValueAsString(text));
    return this;
  }

  /// Has a child in a folder of its objects.
  AnsweringQemu has(String folder, String name, String type) {
    StringBuilder list = lists.computeIfAbsent(folder, _ -> new StringBuilder());
    list.append(list.isEmpty() ? "" : ",")
        .append("{\"name\":\"%s\",\"type\":\"child<%s>\"}".formatted(name, type));
    return this;
  }

  /// Has a device with a name.
  AnsweringQemu device(String id, String type, String bus, String... properties) {
    has("/machine/peripheral", id, type);
    return onBus("/machine/peripheral/" + id, bus, properties);
  }

  /// Has a device without one.
  AnsweringQemu nameless(int number, String type, String bus, String... properties) {
    has("/machine/peripheral-anon", "device[" + number + "]", type);
    return onBus("/machine/peripheral-anon/device[" + number + "]", bus, properties);
  }

  private AnsweringQemu onBus(String path, String bus, String... properties) {
    set(path, "parent_bus=\"" + bus + "\"");
    return set(path, properties);
  }

  /// Sets properties of an object, each with `=` and JSON.
  AnsweringQemu set(String path, String... properties) {
    for (String property : properties) {
      String[] pair = property.split("=", 2);
      answers.put("qom-get " + path + " " + pair[0], pair[1]);
    }
    return this;
  }

  /// What can be set of a type of device: name, type and, after a colon, what it is by itself.
  AnsweringQemu settable(String type, String... properties) {
    StringBuilder all = new StringBuilder();
    for (String property : properties) {
      String[] parts = property.split(" ", 3);
      all.append(all.isEmpty() ? "" : ",")
          .append("{\"name\":\"%s\",\"type\":\"%s\"".formatted(parts[0], parts[1]))
          .append(parts.length == 3 ? ",\"default-value\":" + parts[2] + "}" : "}");
    }
    answers.put("device-list-properties " + type, "[" + all + "]");
    return this;
  }

  @Override
  public JsonNode execute(String command, Map<String, ?> arguments) {
    return execute(command, arguments, UnaryOperator.identity());
  }

  /// @param change what becomes of each answer
  JsonNode execute(String command, Map<String, ?> arguments, UnaryOperator<String> change) {
    String path = Objects.requireNonNullElse(arguments.get("path"), "").toString();
    String key =
        switch (command) {
          case "qom-get" -> "qom-get " + path + " " + arguments.get("property");
          case "device-list-properties" -> command + " " + arguments.get("typename");
          case HMP -> HMP + " " + arguments.get("command-line");
          case "x-query-virtio-status" -> command + " " + path;
          default -> command;
        };
    String answer = answers.get(key);
    if (command.equals("qom-list")) {
      answer = "[" + lists.getOrDefault(path, new StringBuilder()) + "]";
    }
    if (answer == null && command.equals(HMP)) {
      answer = "\"\"";
    }
    if (answer == null) {
      throw new Qmp.QmpException("It refuses " + key);
    }
    return QmpMessage.JSON.readTree(change.apply(answer));
  }

  static AnsweringQemu qemu() {
    return new AnsweringQemu().device("rp0", "pcie-root-port", "/machine/q35/pcie.0", "addr=16");
  }

  static LiveChanges asked(AnsweringQemu qemu, String... line) {
    return asked(qemu, Map.of(), line);
  }

  static LiveChanges asked(AnsweringQemu qemu, Map<String, Path> sets, String... line) {
    return LiveChanges.ask(List.of(line), sets, qemu);
  }

  /// The values of an option.
  static List<String> wordsOf(String option, LiveChanges changes) {
    List<String> values = new ArrayList<>();
    List<String> words = changes.arguments();
    for (int i = 0; i + 1 < words.size(); i++) {
      if (words.get(i).equals(option)) {
        values.add(words.get(i + 1));
      }
    }
    return values;
  }

  /// What `query-named-block-nodes` tells of a node.
  static String node(String name, String driver, String file) {
    return "{\"node-name\":\"%s\",\"drv\":\"%s\",\"file\":\"%s\",\"ro\":false,\"detect_zeroes\":\"off\","
            .formatted(name, driver, file)
        + "\"cache\":{\"writeback\":true,\"direct\":true,\"no-flush\":false}}";
  }

  static String nodes(String... nodes) {
    return "[" + String.join(",", nodes) + "]";
  }

  /// Who is below whom: `PARENT ROLE CHILD`.
  static String graph(String... edges) {
    List<String> names =
        Arrays.stream(edges)
            .flatMap(edge -> Arrays.stream(edge.split(" ")).filter(w -> !w.matches("file|backing")))
            .distinct()
            .toList();
    List<String> points = new ArrayList<>();
    names.forEach(name ->
        points.add(
            "{\"id\":%d,\"type\":\"block-driver\",\"name\":\"%s\"}"
                .formatted(names.indexOf(name) + 1, name)));
    List<String> lines = new ArrayList<>();
    for (String edge : edges) {
      String[] parts = edge.split(" ");
      lines.add(
          "{\"parent\":%d,\"child\":%d,\"name\":\"%s\",\"perm\":[],\"shared-perm\":[]}"
              .formatted(names.indexOf(parts[0]) + 1, names.indexOf(parts[2]) + 1, parts[1]));
    }
    return "{\"nodes\":" + points + ",\"edges\":" + lines + "}";
  }

  static String drive(String device, String inserted) {
    return "{\"device\":\"%s\",\"removable\":true%s}"
        .formatted(device, inserted.isEmpty() ? "" : ",\"inserted\":" + inserted);
  }

  static String inserted(String file, String format, boolean readOnly) {
    return "{\"file\":\"%s\",\"drv\":\"%s\",\"ro\":%s,\"node-name\":\"#block1\",\"bps\":0,\"iops\":0}"
        .formatted(file, format, readOnly);
  }
}
