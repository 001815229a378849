package dev.hyperfresh.cli;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// The commands of `hyperfresh container …` that only ask: `list`, `show`, `logs` and `stats`.
final class ContainerQueries {
  private ContainerQueries() {}

  @Command(
      name = "list",
      aliases = "ls",
      description = "List the containers, including those that have ended.",
      footer = {
        "",
        "A container that has ended stays in the list, with the way it ended, until `container",
        "rm`.",
        "",
        "Examples:",
        "  hyperfresh container list",
        "  hyperfresh container list --all"
      })
  static final class ListAll implements Runnable {
    private static final Listing LISTING = new Listing("containers", "container", columns());

    @Mixin private Options options = new Options();
    @Mixin private Listing.Watching watching = new Listing.Watching();

    @Option(
        names = "--all",
        description = "Also list files of containers that are no longer known; `rm` removes them.")
    private boolean all;

    @Override
    public void run() {
      LISTING.show(options, watching, answer -> all ? left(answer) : List.of());
    }

    private static List<List<String>> left(JsonNode answer) {
      return answer
          .path("left_over")
          .valueStream()
          .map(name -> List.of(name.asString(), "files only", "-", "-", "-", "-", "-", "-"))
          .toList();
    }

    private static Map<String, Function<JsonNode, String>> columns() {
      Map<String, Function<JsonNode, String>> columns = new LinkedHashMap<>();
      columns.put("NAME", c -> Output.text(c, "name"));
      columns.put(
          "STATE",
          c -> Output.text(c, "state") + (c.has("health") ? ", " + Output.text(c, "health") : ""));
      columns.put("OS", c -> Output.text(c, "os"));
      columns.put("KERNEL", c -> c.path("kernel").asString("-"));
      columns.put("ADDRESS", c -> c.path("address").asString(c.path("address6").asString("-")));
      columns.put("PORT", c -> c.path("port").asString("-"));
      columns.put("PID", c -> Output.text(c, "pid"));
      columns.put("ENDED", c -> c.path("ended").asString("-"));
      return columns;
    }
  }

  @Command(
      name = "show",
      description = "Show a container.",
      footer = {"", "Example:", "  hyperfresh container show web1"})
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode container = options.client().get("/v1/containers/" + name);
      if (!options.printed(container)) {
        container
            .properties()
            .forEach(field ->
                System.out.printf(
                    "%-20s %s%n",
                    field.getKey().replace('_', ' '),
                    field.getValue().isArray()
                        ? joined(field.getValue())
                        : Output.text(container, field.getKey())));
      }
    }
  }

  private static String joined(JsonNode values) {
    return values.valueStream().map(item -> item.asString("")).collect(Collectors.joining(", "));
  }

  @Command(
      name = "logs",
      description = "Show the end of what a container has written.",
      footer = {
        "",
        "The last 30 MiB of its log are kept; this shows the last 1 MiB.",
        "",
        "Examples:",
        "  hyperfresh container logs web1",
        "  hyperfresh container logs -f web1"
      })
  static final class Logs implements Runnable {
    private static final Duration LOOK = Duration.ofMillis(500);

    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Option(
        names = {"-f", "--follow"},
        description = "Continue with what it writes until it has ended.")
    private boolean follow;

    @Override
    public void run() {
      Client client = options.client();
      JsonNode piece = client.get(path());
      if (!follow && options.printed(piece)) {
        return;
      }
      show(piece);
      while (follow
          && !Thread.currentThread().isInterrupted()
          && !(piece.path("ended").asBoolean() && text(piece).isEmpty())) {
        if (text(piece).isEmpty()) {
          LockSupport.parkNanos(LOOK.toNanos());
        }
        piece = client.get(path(), Map.of("after", piece.path("next").asString()));
        show(piece);
      }
    }

    private String path() {
      return "/v1/containers/" + name + "/log";
    }

    private static String text(JsonNode piece) {
      return piece.path("log").asString();
    }

    private static void show(JsonNode piece) {
      System.out.print(text(piece));
      System.out.flush();
    }
  }

  @Command(
      name = "stats",
      description = "Show what a container uses.",
      footer = {
        "",
        "Memory includes the files that are cached for it. CPU time starts from 0 in each OS.",
        "",
        "Example:",
        "  hyperfresh container stats web1"
      })
  static final class Stats implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode stats = options.client().get("/v1/containers/" + name + "/stats");
      if (options.printed(stats)) {
        return;
      }
      System.out.printf(
          Locale.ROOT,
          "memory    %.1f MiB%s%n",
          stats.path("memory_bytes").asLong() / (double) (1 << 20),
          stats.has("memory_max_bytes")
              ? String.format(
                  Locale.ROOT,
                  " of %.1f",
                  stats.path("memory_max_bytes").asLong() / (double) (1 << 20))
              : "");
      System.out.printf(
          Locale.ROOT, "cpu time  %.3f s%n", stats.path("cpu_us").asLong() / 1_000_000.0);
      System.out.printf(
          Locale.ROOT,
          "pids      %d%s%n",
          stats.path("pids").asLong(),
          stats.has("pids_max") ? " of " + stats.path("pids_max").asLong() : "");
    }
  }
}
