package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.dataformat.yaml.YAMLMapper;

/// `docs/JSON.md` is made of the API's contract, which is held against every answer, and has every
/// command. With `-Dhyperfresh.docs.write=true` it is written anew.
class JsonPageTest {
  private static final Path PAGE = DocumentationTest.ROOT.resolve("docs/JSON.md");
  private static final Pattern REFERENCE = Pattern.compile("#/components/schemas/(\\w+)");
  private static final JsonNode CONTRACT = contract();

  /// Commands without a result of one document.
  private static final Set<String> SILENT =
      Set.of("daemon", "generate-completion", "guest console");

  /// Those that ask no daemon, and the fields of each thing in their one list.
  private static final Map<String, List<String>> OWN =
      new TreeMap<>(
          Map.of(
              "doctor", List.of("findings", "verdict", "subject", "finding", "remedy"),
              "machine tune",
                  List.of("knobs", "name", "state", "purpose", "found", "action", "settable")));

  /// Those that ask no daemon and print one thing, and its fields.
  private static final Map<String, List<String>> PLAIN =
      new TreeMap<>(
          Map.of(
              "config check", List.of("file", "present", "state"),
              "config show", List.of("file", "settings"),
              "explain", List.of("pieces", "verdict", "copy_needed", "to"),
              "outdated", List.of("qemus", "outdated", "unknown"),
              "policy check", List.of("file", "present", "action"),
              "policy show",
                  List.of("file", "present", "settings", "stopped", "unknown_exceptions")));

  /// One that asks a daemon for several things, and its fields.
  private static final String APPLIED = "policy apply";

  static final List<String> APPLIED_FIELDS =
      List.of("action", "outcome", "stopped", "guests", "others", "unknown_exceptions");

  /// What each of the others asks for.
  private static final Map<String, List<String>> COMMANDS = new LinkedHashMap<>();

  static {
    add("release list", "get /v1/releases");
    add("release show", "get /v1/releases/{name}");
    add("release fetch", "post /v1/releases");
    add("release build", "post /v1/releases");
    add("release add", "post /v1/releases");
    add("release verify", "post /v1/releases/{name}/verify");
    add("release remove", "delete /v1/releases/{name}");
    add("release prune", "post /v1/prunings");
    add("guest create", "post /v1/guests");
    add("guest adopt", "post /v1/guests/{name}/adopt");
    add("guest list", "get /v1/guests");
    add("guest show", "get /v1/guests/{name}");
    add("guest start", "post /v1/guests/{name}/start");
    add("guest restart", "post /v1/guests/{name}/restart");
    add("guest autostart", "post /v1/guests/{name}/autostart");
    add("guest edit", "post /v1/guests/{name}/edit");
    add("guest resume", "post /v1/guests/{name}/resume");
    add("guest stop", "post /v1/guests/{name}/stop", "get /v1/guests");
    add("guest delete", "delete /v1/guests/{name}");
    add(
        "replace",
        "post /v1/guests/{name}/replacements",
        "post /v1/guests/{name}/plan",
        "post /v1/rollouts",
        "post /v1/machines/{name}/replacements",
        "post /v1/libvirt/replacements");
    add("machine create", "post /v1/machines");
    add("machine list", "get /v1/machines");
    add("machine show", "get /v1/machines/{name}");
    add("machine start", "post /v1/machines/{name}/start");
    add("machine stop", "post /v1/machines/{name}/stop");
    add("machine autostart", "post /v1/machines/{name}/autostart");
    add("machine delete", "delete /v1/machines/{name}");
    add("os create", "post /v1/os");
    add("os list", "get /v1/os");
    add("os show", "get /v1/os/{name}");
    add("os replace", "post /v1/os/{name}/replacements");
    add("os start", "post /v1/os/{name}/start");
    add("os stop", "post /v1/os/{name}/stop");
    add("os autostart", "post /v1/os/{name}/autostart");
    add("os delete", "delete /v1/os/{name}");
    add("container run", "post /v1/containers");
    add("container list", "get /v1/containers");
    add("container show", "get /v1/containers/{name}");
    add("container logs", "get /v1/containers/{name}/log");
    add("container stats", "get /v1/containers/{name}/stats");
    add("container exec", "post /v1/containers/{name}/exec");
    add("container relocate", "post /v1/containers/{name}/relocations");
    add("container stop", "post /v1/containers/{name}/stop");
    add("container start", "post /v1/containers/{name}/start");
    add("container resume", "post /v1/containers/{name}/resume");
    add("container rm", "delete /v1/containers/{name}");
    add("volume create", "post /v1/volumes");
    add("volume list", "get /v1/volumes");
    add("volume rm", "delete /v1/volumes/{name}");
    add("history", "get /v1/history");
    add("audit", "get /v1/audit");
    add("events", "get /v1/events");
    add(
        "wait",
        "get /v1/guests/{name}",
        "get /v1/containers/{name}",
        "get /v1/machines/{name}",
        "get /v1/os/{name}",
        "delete /v1/guests/{name}");
  }

  private static void add(String command, String... operations) {
    COMMANDS.put(command, List.of(operations));
  }

  private static final String START =
      """
      # JSON and YAML for programs

      This page is generated from [openapi.yaml](openapi.yaml). It describes version 1 of what commands print.

      | Option | What is printed on standard output |
      |---|---|
      | `-o table` | for people; it may change at any time |
      | `-o json`, `--json` | one line with one JSON document; `events` and `list --watch`: one line for each event or thing |
      | `-o yaml` | the same fields as a YAML document that begins with `---` |
      | `-o name` | the names of the things in the result, one a line; nothing if there are none |

      Progress goes to standard error. An error is printed in the format asked for, as a [Problem](#problem); with
      `table` and `name` it is two lines on standard error. It sets the exit code; [ERRORS.md](ERRORS.md) lists them.
      A command whose arguments are wrong prints two lines on standard error and ends with 2.

      ## What may change

      Within a version, fields are added, and so are values of fields that have a list of values. Ignore what you do
      not know. No field is removed, renamed or given another type or unit, and a field that is always there stays.
      A change of that kind makes a new version, and CHANGELOG.md names it.

      The unit is in the name: `_ms`, `_us` and `_s` are times, `_mib` and `_bytes` sizes. A time of day is RFC 3339 in UTC.
      A field that is not always there is absent when it has no meaning, or when its value is not known.
      """;

  private static JsonNode contract() {
    try {
      return YAMLMapper.builder()
          .build()
          .readTree(Files.readString(DocumentationTest.ROOT.resolve("docs/openapi.yaml")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void thePageIsTheContract() throws IOException {
    if (Boolean.getBoolean("hyperfresh.docs.write")) {
      Files.writeString(PAGE, page());
    }
    assertThat(Files.readString(PAGE))
        .as("docs/JSON.md; regenerate it with -Dhyperfresh.docs.write=true")
        .isEqualTo(page());
  }

  @Test
  void everyCommandStandsOnIt() {
    Set<String> known = new TreeSet<>(COMMANDS.keySet());
    known.addAll(OWN.keySet());
    known.addAll(PLAIN.keySet());
    known.addAll(SILENT);
    known.add(APPLIED);
    List<String> leaves =
        CommandTreeTest.commands()
            .filter(path -> CommandTreeTest.find(path).getSubcommands().isEmpty())
            .map(path -> String.join(" ", path))
            .toList();

    assertThat(leaves).containsExactlyInAnyOrderElementsOf(known);
  }

  @Test
  void whatAsksNoDaemonIsAsThePageSays(@TempDir Path folder) throws IOException {
    Path line = Files.writeString(folder.resolve("line"), "-nodefaults\n");
    OWN.forEach((command, fields) -> {
      JsonNode answer =
          Output.JSON
              .readTree(Said.by((command + " --json --state /nowhere").split(" ")).out())
              .path(fields.getFirst());
      assertThat(answer.isEmpty()).as(command).isFalse();
      assertThat(answer.path(0).propertyNames())
          .containsExactlyElementsOf(fields.subList(1, fields.size()));
    });
    PLAIN.forEach((command, fields) -> {
      String about = command.equals("explain") ? " " + line : "";
      String out = Said.by((command + about + " --json --state /nowhere").split(" ")).out();
      assertThat(Output.JSON.readTree(out).propertyNames())
          .as(command)
          .containsExactlyInAnyOrderElementsOf(fields);
    });
  }

  private static String page() {
    StringBuilder page = new StringBuilder(START);
    page.append("\n## Commands\n\n| Command | Result |\n|---|---|\n");
    Set<String> schemas = new TreeSet<>(Set.of("Problem"));
    COMMANDS.forEach((command, operations) -> {
      List<String> results =
          operations.stream().flatMap(o -> references(result(o))).distinct().toList();
      schemas.addAll(results);
      page.append("| `").append(command).append("` | ");
      page.append(results.stream().map(JsonPageTest::link).collect(Collectors.joining(", ")));
      page.append(notes(command)).append(" |\n");
    });
    OWN.forEach((command, fields) ->
        page.append(
            "| `%s` | `%s`, a list of things with %s |\n"
                .formatted(command, fields.getFirst(), named(fields.subList(1, fields.size())))));
    PLAIN.forEach((command, fields) ->
        page.append("| `%s` | %s%s |\n".formatted(command, named(fields), notes(command))));
    page.append("| `%s` | %s%s |\n".formatted(APPLIED, named(APPLIED_FIELDS), notes(APPLIED)));
    withAllBelow(schemas).forEach(name -> page.append(section(name)));
    return page.toString();
  }

  private static String named(List<String> fields) {
    return fields.stream().map(field -> "`" + field + "`").collect(Collectors.joining(", "));
  }

  private static String notes(String command) {
    return switch (command) {
      case "config show" -> "; for each setting its `value` and where it is `from`";
      case "policy show" -> "; if there is a window, also when it `opens` and `closes`";
      case APPLIED ->
          "; if guests wait, also when the window `opens`; each of `guests` has `guest`, `from`, `to`,"
              + " `outcome`, `detail` and, if it moved, `stood_ms`";
      case "explain" ->
          "; each of `pieces` has `what`, `verdict`, `reason` and `action`, see [ADOPT.md](ADOPT.md)";
      case "outdated" -> "; what each of `qemus` has is in [GUESTS.md](GUESTS.md)";
      case "guest stop" ->
          "; the second one with `--all` or of several guests, with those that were stopped";
      case "container stop" ->
          "; with `--all` or of several containers `containers`, each a [Container](#container)";
      case "replace" -> "; which one depends on what is replaced, and on `--dry-run`";
      case "events" -> " and the field `id`, for `--after`";
      case "wait" -> "; what is waited for";
      case "guest list", "container list", "machine list", "os list" ->
          "; with `--watch` each thing that changes, with `state` `gone` when it is no longer there";
      case "container logs" -> "; with `-f` only text";
      default -> "";
    };
  }

  /// What an operation answers when it went well.
  private static JsonNode result(String operation) {
    String[] words = operation.split(" ", 2);
    JsonNode answer =
        CONTRACT.path("paths").path(words[1]).path(words[0]).path("responses").path("200");
    assertThat(answer.isMissingNode()).as(operation).isFalse();
    return answer;
  }

  /// The names of the schemas in a piece of the contract, without those of work that is under way.
  private static Stream<String> references(JsonNode piece) {
    return REFERENCE
        .matcher(piece.toString())
        .results()
        .map(found -> found.group(1))
        .filter(name -> !Set.of("Progress", "Problem").contains(name))
        .distinct();
  }

  private static JsonNode schema(String name) {
    return CONTRACT.path("components").path("schemas").path(name);
  }

  private static Set<String> withAllBelow(Set<String> schemas) {
    Set<String> all = new TreeSet<>();
    Deque<String> open = new ArrayDeque<>(schemas);
    while (!open.isEmpty()) {
      String name = open.pop();
      if (all.add(name)) {
        references(schema(name)).forEach(open::push);
      }
    }
    return all;
  }

  private static String section(String name) {
    JsonNode schema = schema(name);
    Set<String> always =
        schema
            .path("required")
            .valueStream()
            .map(JsonNode::asString)
            .collect(Collectors.toCollection(TreeSet::new));
    StringBuilder section = new StringBuilder("\n### " + name + "\n\n");
    section.append("| Field | Type | Always | Meaning |\n|---|---|---|---|\n");
    Stream.of("properties", "patternProperties")
        .flatMap(kind -> schema.path(kind).propertyStream())
        .forEach(field ->
            section.append(
                "| `%s` | %s | %s | %s |\n"
                    .formatted(
                        field.getKey().replace("|", "\\|"),
                        type(field.getValue()),
                        always.contains(field.getKey()) ? "yes" : "",
                        meaning(field.getValue()))));
    return section.toString();
  }

  private static String type(JsonNode schema) {
    if (schema.has("$ref")) {
      return references(schema).map(JsonPageTest::link).findFirst().orElse("object");
    }
    JsonNode type = schema.path("type");
    if (type.isArray()) {
      return type.valueStream().map(JsonNode::asString).collect(Collectors.joining(" or "));
    }
    return switch (type.asString("")) {
      case "array" -> "list of " + type(schema.path("items"));
      case "string" -> schema.path("format").asString("").isEmpty() ? "string" : "time of day";
      case "" -> "any";
      default -> type.asString();
    };
  }

  private static String link(String schema) {
    return "[" + schema + "](#" + schema.toLowerCase(Locale.ROOT) + ")";
  }

  private static String meaning(JsonNode schema) {
    String values =
        schema
            .path("enum")
            .valueStream()
            .map(value -> "`" + value.asString() + "`")
            .collect(Collectors.joining(", "));
    return Stream.of(
            values.isEmpty() ? "" : "One of " + values + ".",
            schema.path("description").asString("").strip().replace("\n", " "))
        .filter(text -> !text.isEmpty())
        .collect(Collectors.joining(" "));
  }
}
