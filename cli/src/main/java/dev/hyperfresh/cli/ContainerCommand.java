package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/// `hyperfresh container …`.
@Command(
    name = "container",
    description = "Containers in operating systems, which they can leave while they run.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    subcommands = {
      ContainerCommand.Run.class,
      ContainerCommand.ListAll.class,
      ContainerCommand.Show.class,
      ContainerCommand.Logs.class,
      ContainerCommand.Stats.class,
      ContainerCommand.Exec.class,
      ContainerCommand.Relocate.class,
      ContainerCommand.Stop.class,
      ContainerCommand.Start.class,
      ContainerCommand.Remove.class,
      ContainerCommand.Resume.class
    },
    footer = {
      "",
      "A container is an OCI bundle: a folder with config.json and a root file system, as `umoci",
      "unpack` or `runc spec` make it; or an image in a file of this host.",
      "",
      "Examples:",
      "  hyperfresh container run web1 --os os1 --bundle ./web1 --address 10.0.0.5/24 --bridge br0",
      "  hyperfresh container logs web1",
      "  hyperfresh container show web1",
      "  hyperfresh container exec web1 ls -l /",
      "  hyperfresh container relocate web1 --to os2",
      "  hyperfresh container stop web1",
      "  hyperfresh container start web1",
      "  hyperfresh container rm web1"
    })
final class ContainerCommand {
  private ContainerCommand() {}

  @Command(
      name = "run",
      description = "Start a container.",
      footer = {
        "",
        "Its files are a copy of the bundle's. It has one network card, eth0, if it has an"
            + " address;",
        "the card's port on this host stays the same when the container moves. What the bundle"
            + " asks",
        "for and the container does without, such as a terminal, is said; all else is refused.",
        "",
        "An image is an OCI layout, or an archive of OCI or docker, as `skopeo copy` and `docker"
            + " save`",
        "make them; of several in a file a tag names one. Nothing is fetched from elsewhere."
            + " skopeo",
        "and umoci have to be installed.",
        "",
        "Started again by --restart, it has its files as it left them. It is started in the same"
            + " OS,",
        "or, when that has ended, in the one with most memory free, at least 64 MiB; it waits"
            + " until",
        "there is one. The delay is 100 ms and doubles up to a minute until it has run for 10 s.",
        "",
        "A volume is a folder that stays when the container is removed, and goes with it from OS to",
        "OS. It is made if need be; an empty one begins with what the container has at its place.",
        "",
        "A health check is a program in the container that ends with 0 when the container works. One",
        "that is unhealthy is not moved, and one that does not work in the new OS is moved back.",
        "",
        "Examples:",
        "  hyperfresh container run job1 --os os1 --bundle ./job1",
        "  hyperfresh container run web1 --os os1 --bundle ./web1 --address 10.0.0.5/24 \\",
        "      --gateway 10.0.0.1 --bridge br0 --restart always",
        "  hyperfresh container run web2 --os os1 --image ./nginx.tar:nginx:1.27 --bridge br0 \\",
        "      --address 10.0.0.6/24 --address6 fd00::6/64 --dns 10.0.0.1",
        "  hyperfresh container run db1 --os os1 --bundle ./db1 --volume data:/var/lib/db \\",
        "      --health-cmd 'redis-cli ping' --health-interval 10s"
      })
  static final class Run implements Runnable {
    private static final JsonMapper JSON = JsonMapper.builder().build();

    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME", description = "1 to 32 letters, digits or '-'.")
    private String name = "";

    @Option(names = "--os", required = true, paramLabel = "OS", description = "Where it runs.")
    private String os = "";

    @ArgGroup(exclusive = true, multiplicity = "1")
    private Source source = new Source();

    private static final class Source {
      @Option(
          names = "--bundle",
          paramLabel = "DIR",
          description = "An OCI bundle: a folder with config.json and a root file system.")
      private @Nullable Path bundle;

      @Option(
          names = "--image",
          paramLabel = "FILE[:TAG]",
          description = "An image: an OCI layout or an archive on this host's disk.")
      private @Nullable Path image;

      private void addTo(Map<String, Object> body) {
        if (bundle != null) {
          body.put("bundle", absolute(bundle));
        }
        if (image != null) {
          body.put("image", absolute(image));
        }
      }

      private static String absolute(Path path) {
        return path.toAbsolutePath().normalize().toString();
      }
    }

    @Option(
        names = "--address",
        paramLabel = "CIDR",
        description = "Of its network card, such as 10.0.0.5/24.")
    private String address = "";

    @Option(
        names = "--gateway",
        paramLabel = "ADDRESS",
        description = "Of its default route, such as 10.0.0.1.")
    private String gateway = "";

    @Option(
        names = "--address6",
        paramLabel = "CIDR",
        description = "Of its network card too, such as fd00::5/64.")
    private String address6 = "";

    @Option(
        names = "--gateway6",
        paramLabel = "ADDRESS",
        description = "Of its default route of IPv6, such as fd00::1.")
    private String gateway6 = "";

    @Option(
        names = "--dns",
        paramLabel = "ADDRESS",
        description = "A name server for its /etc/resolv.conf; up to 3 times.")
    private List<String> dns = List.of();

    @Option(
        names = "--bridge",
        paramLabel = "NAME",
        description = "A bridge of this host that its port joins.")
    private String bridge = "";

    @Option(
        names = "--restart",
        paramLabel = "POLICY",
        defaultValue = "no",
        description =
            "Start it again when it ends: no, on-failure, on-failure:N (at most N times one after"
                + " the other) or always (default: ${DEFAULT-VALUE}).")
    private String restart = "";

    @Option(
        names = {"-v", "--volume"},
        paramLabel = "NAME:PATH[:ro]",
        description = "A volume, and where the container has it; any number of times.")
    private List<String> volumes = List.of();

    @Option(
        names = "--health-cmd",
        paramLabel = "LINE",
        description = "Its health check: a line for its /bin/sh, or a JSON list of words.")
    private String health = "";

    @Option(
        names = "--health-interval",
        paramLabel = "TIME",
        defaultValue = "30s",
        description = "From the end of a check to the next (default: ${DEFAULT-VALUE}).")
    private String healthInterval = "";

    @Option(
        names = "--health-timeout",
        paramLabel = "TIME",
        defaultValue = "10s",
        description = "After which a check is killed and has failed (default: ${DEFAULT-VALUE}).")
    private String healthTimeout = "";

    @Option(
        names = "--health-retries",
        paramLabel = "N",
        defaultValue = "3",
        description = "Failures in a row that make it unhealthy (default: ${DEFAULT-VALUE}).")
    private int healthRetries;

    @Option(
        names = "--health-start-period",
        paramLabel = "TIME",
        defaultValue = "0s",
        description = "In which failures do not count after a start (default: ${DEFAULT-VALUE}).")
    private String healthStart = "";

    @Spec private @Nullable CommandSpec spec;

    private Map<String, Object> health() {
      CommandSpec here = Objects.requireNonNull(spec);
      return Map.of(
          "command",
          words().orElseGet(() -> List.of("/bin/sh", "-c", health)),
          "interval_ms",
          Period.parse(healthInterval, here).toMillis(),
          "timeout_ms",
          Period.parse(healthTimeout, here).toMillis(),
          "retries",
          healthRetries,
          "start_ms",
          Period.parse(healthStart, here).toMillis());
    }

    /// Those of a JSON list; a line may begin like one.
    private Optional<List<String>> words() {
      try {
        JsonNode list = JSON.readTree(health);
        boolean words = list.isArray() && list.valueStream().allMatch(JsonNode::isString);
        return Optional.of(list.valueStream().map(word -> word.asString("")).toList())
            .filter(_ -> words);
      } catch (JacksonException e) {
        return Optional.empty();
      }
    }

    @Override
    public void run() {
      Map<String, Object> body = new LinkedHashMap<>();
      body.put("name", name);
      body.put("restart", restart);
      body.put("os", os);
      source.addTo(body);
      body.put("address", address);
      body.put("gateway", gateway);
      body.put("address6", address6);
      body.put("gateway6", gateway6);
      body.put("dns", dns);
      body.put("bridge", bridge);
      body.put("volumes", volumes);
      if (!health.isEmpty()) {
        body.put("health", health());
      }
      JsonNode container = options.client().work("/v1/containers", body, Output::progress);
      if (options.json()) {
        Output.json(container);
      } else {
        System.out.printf("%s runs in %s.%n", name, container.path("os").asString());
      }
    }
  }

  @Command(
      name = "list",
      description = "List the containers, also those that have ended.",
      footer = {
        "",
        "A container that has ended stays listed, with how it ended, until `container rm`.",
        "",
        "Examples:",
        "  hyperfresh container list",
        "  hyperfresh container list --all"
      })
  static final class ListAll implements Runnable {
    @Mixin private Options options = new Options();

    @Option(
        names = "--all",
        description = "Also files of containers that nobody knows any more, which `rm` removes.")
    private boolean all;

    @Override
    public void run() {
      JsonNode answer = options.client().get("/v1/containers");
      if (options.json()) {
        Output.json(answer);
        return;
      }
      Stream<List<String>> known = answer.path("containers").valueStream().map(ListAll::row);
      Stream<List<String>> left =
          answer
              .path("left_over")
              .valueStream()
              .filter(_ -> all)
              .map(name -> List.of(name.asString(), "files only", "-", "-", "-", "-", "-", "-"));
      Output.table(
          List.of("NAME", "STATE", "OS", "KERNEL", "ADDRESS", "PORT", "PID", "ENDED"),
          Stream.concat(known, left).toList());
    }

    private static List<String> row(JsonNode c) {
      return List.of(
          c.path("name").asString(),
          c.path("state").asString() + (c.has("health") ? ", " + c.path("health").asString() : ""),
          c.path("os").asString(),
          c.path("kernel").asString("-"),
          c.path("address").asString(c.path("address6").asString("-")),
          c.path("port").asString("-"),
          c.path("pid").asString(),
          c.has("ended") ? c.path("ended").asString() : "-");
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
      if (options.json()) {
        Output.json(container);
      } else {
        container
            .properties()
            .forEach(field ->
                System.out.printf(
                    "%-20s %s%n", field.getKey().replace('_', ' '), text(field.getValue())));
      }
    }
  }

  private static String text(JsonNode value) {
    return value.isArray()
        ? value.valueStream().map(item -> item.asString("")).collect(Collectors.joining(", "))
        : value.asString("");
  }

  @Command(
      name = "logs",
      description = "Show the last that a container has written.",
      footer = {
        "",
        "Of its log, 30 MiB are kept; this shows the last one of them.",
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
        description = "Go on with what it writes, until it has ended.")
    private boolean follow;

    @Override
    public void run() {
      Client client = options.client();
      JsonNode piece = client.get(path());
      if (options.json() && !follow) {
        Output.json(piece);
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
        "Its memory includes the files that are cached for it; its CPU time begins anew in each"
            + " OS.",
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
      if (options.json()) {
        Output.json(stats);
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

  @Command(
      name = "exec",
      description = "Run a program in a container.",
      footer = {
        "",
        "Its input is empty. The exit code is the program's. Options of this command stand before",
        "NAME; what follows it is the program's.",
        "",
        "Examples:",
        "  hyperfresh container exec web1 ps",
        "  hyperfresh container exec --json web1 ls -l /"
      })
  static final class Exec implements Callable<Integer> {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME", index = "0")
    private String name = "";

    @Parameters(
        paramLabel = "COMMAND",
        index = "1..*",
        arity = "1..*",
        description = "The program and its arguments.")
    private List<String> command = List.of();

    @Spec
    void stopAtName(CommandSpec spec) {
      var _ = spec.parser().stopAtPositional(true);
    }

    /// The mark after which options end is not the program's.
    private List<String> program() {
      return command.getFirst().equals("--") ? command.subList(1, command.size()) : command;
    }

    @Override
    public Integer call() {
      JsonNode done =
          options
              .client()
              .work(
                  "/v1/containers/" + name + "/exec",
                  Map.of("command", program()),
                  Output::progress);
      if (options.json()) {
        Output.json(done);
      } else {
        System.out.print(done.path("output").asString());
      }
      return done.path("code").asInt();
    }
  }

  @Command(
      name = "relocate",
      description = "Move a container to another OS while it runs.",
      footer = {
        "",
        "Until it runs in the other OS, every failure leads back to the one where it is. If it has a",
        "health check, that has to go well before; when it fails in the new OS, the container is moved",
        "back.",
        "",
        "Examples:",
        "  hyperfresh container relocate web1 --to os2",
        "  hyperfresh container relocate web1 --to os2 --no-health"
      })
  static final class Relocate implements Callable<Integer> {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Option(names = "--to", required = true, paramLabel = "OS", description = "Where to.")
    private String to = "";

    @Option(
        names = "--copy",
        description =
            "Copy its memory while it stands still: the ordinary way, slow, to compare with.")
    private boolean copy;

    @Option(
        names = "--no-health",
        description = "Move it whatever its health check says, and leave it there.")
    private boolean noHealth;

    @Override
    public Integer call() {
      JsonNode move =
          options
              .client()
              .work(
                  "/v1/containers/" + name + "/relocations",
                  Map.of("to", to, "copy", copy, "health", !noHealth),
                  Output::progress);
      if (options.json()) {
        Output.json(move);
      } else {
        print(move);
      }
      return move.path("outcome").asString().equals("committed")
          ? 0
          : Problem.RELOCATE_ROLLED_BACK.exitCode();
    }
  }

  /// Prints a move for a person.
  static void print(JsonNode move) {
    System.out.printf(
        "%s: %s (Linux %s) → %s (Linux %s), %s%n",
        move.path("container").asString(),
        move.path("from").asString(),
        move.path("kernel_from").asString(),
        move.path("to").asString(),
        move.path("kernel_to").asString(),
        move.path("outcome").asString());
    if (!move.path("outcome").asString().equals("committed")) {
      Problem problem = Problem.RELOCATE_ROLLED_BACK;
      System.out.println("  " + problem.code() + " " + move.path("detail").asString());
      System.out.println("  " + problem.advice());
      return;
    }
    JsonNode phases = move.path("phases_ms");
    System.out.printf(
        Locale.ROOT,
        "  stood still  %8.0f ms   of it %.0f ms to freeze, %.0f ms to restore%n",
        move.path("frozen_ms").asDouble(),
        phases.path("freeze").asDouble(),
        phases.path("restore").asDouble());
    System.out.printf(
        Locale.ROOT,
        "  copied       %8d bytes  while it stood still; %d MiB of memory followed at %.0f MiB/s%n",
        move.path("frozen_bytes").asLong(),
        move.path("memory_mib").asLong(),
        move.path("drain_mib_s").asDouble());
    System.out.printf(
        Locale.ROOT,
        "  waited for   %8d pages  which it touched before they had come, at most %.1f ms%n",
        move.path("faults").asLong(),
        move.path("longest_fault_us").asDouble() / 1000);
  }

  @Command(
      name = "stop",
      description = "End a container; its files stay.",
      footer = {
        "",
        "It is not started again by its --restart. One that has ended already stays as it is.",
        "",
        "Example:",
        "  hyperfresh container stop web1 --patience 30"
      })
  static final class Stop implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Option(
        names = "--patience",
        paramLabel = "SECONDS",
        defaultValue = "10",
        description = "How long it may take to end by itself (default: ${DEFAULT-VALUE}).")
    private int patience;

    @Override
    public void run() {
      JsonNode answer =
          options
              .client()
              .work(
                  "/v1/containers/" + name + "/stop",
                  Map.of("patience_s", patience),
                  Output::progress);
      if (options.json()) {
        Output.json(answer);
      } else {
        System.out.println(name + " is stopped; its files stay.");
      }
    }
  }

  @Command(
      name = "start",
      description = "Start a container that has ended, with its files as it left them.",
      footer = {
        "",
        "Examples:",
        "  hyperfresh container start web1",
        "  hyperfresh container start web1 --os os2"
      })
  static final class Start implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Option(
        names = "--os",
        paramLabel = "OS",
        description =
            "Where; else where it ran last, or, when that OS has ended, where most memory is"
                + " free.")
    private String os = "";

    @Override
    public void run() {
      JsonNode container =
          options
              .client()
              .work("/v1/containers/" + name + "/start", Map.of("os", os), Output::progress);
      if (options.json()) {
        Output.json(container);
      } else {
        System.out.printf("%s runs in %s.%n", name, container.path("os").asString());
      }
    }
  }

  @Command(
      name = "rm",
      description = "Remove a container that has ended, and its files.",
      footer = {
        "",
        "Also files of a container that nobody knows any more; `container list --all` shows them.",
        "",
        "Examples:",
        "  hyperfresh container rm web1",
        "  hyperfresh container rm web1 --force"
      })
  static final class Remove implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Option(names = "--force", description = "Kill it first if it runs.")
    private boolean force;

    @Override
    public void run() {
      JsonNode answer =
          options
              .client()
              .delete("/v1/containers/" + name, force ? Map.of("force", "true") : Map.of());
      if (options.json()) {
        Output.json(answer);
      } else {
        System.out.println(name + " is removed, and its files; volumes stay.");
      }
    }
  }

  @Command(
      name = "resume",
      description = {
        "Have a container go on that stands because it may have run in an OS that is gone.",
        "What it did there may be done once more."
      })
  static final class Resume implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().post("/v1/containers/" + name + "/resume", Map.of());
      if (options.json()) {
        Output.json(answer);
      } else {
        System.out.println(name + " goes on.");
      }
    }
  }
}
