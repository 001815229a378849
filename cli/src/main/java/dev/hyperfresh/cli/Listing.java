package dev.hyperfresh.cli;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/// What a `list` command shows of things that have a name and a state.
///
/// @param route where the API lists them, and the field of its answer
/// @param kind with which their events begin
/// @param columns each with its content
record Listing(String route, String kind, Map<String, Function<JsonNode, String>> columns) {
  private static final String GONE = "gone";

  /// The option to go on listing.
  static final class Watching {
    @Option(
        names = {"-w", "--watch"},
        description = "Then print each one that changes, until Ctrl-C.")
    private boolean watch;
  }

  private JsonNode answer(Client client) {
    return client.get("/v1/" + route);
  }

  /// Lists them, and goes on if that was asked for.
  void show(Options options, Watching watching) {
    show(options, watching, _ -> List.of());
  }

  /// @param last rows about what an answer has beside the list
  void show(Options options, Watching watching, Function<JsonNode, List<List<String>>> last) {
    if (watching.watch) {
      watch(options);
      return;
    }
    JsonNode answer = answer(options.client());
    if (!options.printed(answer)) {
      table(things(answer), last.apply(answer)).print();
    }
  }

  private List<JsonNode> things(JsonNode answer) {
    return answer.path(route).valueStream().toList();
  }

  private Table table(List<JsonNode> things, List<List<String>> last) {
    List<List<String>> rows = new ArrayList<>(things.stream().map(this::row).toList());
    rows.addAll(last);
    return new Table(List.copyOf(columns.keySet()), rows);
  }

  private List<String> row(JsonNode thing) {
    return columns.values().stream().map(column -> column.apply(thing)).toList();
  }

  private void watch(Options options) {
    Client client = options.client();
    Map<String, JsonNode> shown = new LinkedHashMap<>();
    new EventFeed(
            options::client,
            "",
            event -> {
              if (event.map(this::isOfOurs).orElse(true)) {
                changes(options, shown, things(answer(client)));
              }
              return !System.out.checkError();
            })
        .follow();
  }

  private boolean isOfOurs(JsonNode event) {
    String type = event.path("type").asString();
    return type.startsWith(kind + ".") || type.equals("missed");
  }

  /// Prints what is not as it was shown, and remembers it.
  private void changes(Options options, Map<String, JsonNode> shown, List<JsonNode> now) {
    boolean first = shown.isEmpty();
    Map<String, JsonNode> present = new LinkedHashMap<>();
    now.forEach(thing -> present.put(thing.path("name").asString(), thing));
    List<JsonNode> changed = new ArrayList<>();
    shown.forEach((name, thing) -> {
      if (!present.containsKey(name)) {
        changed.add(((ObjectNode) thing.deepCopy()).put("state", GONE));
      }
    });
    present.forEach((name, thing) -> {
      if (!thing.equals(shown.get(name))) {
        changed.add(thing);
      }
    });
    shown.clear();
    shown.putAll(present);
    print(options, changed, first);
  }

  private void print(Options options, List<JsonNode> changed, boolean first) {
    boolean forPeople = changed.stream().filter(thing -> !options.printed(thing)).count() > 0;
    if (forPeople) {
      table(changed, List.of()).lines(Terminal.width()).stream()
          .skip(first ? 0 : 1)
          .forEach(System.out::println);
    }
  }
}
