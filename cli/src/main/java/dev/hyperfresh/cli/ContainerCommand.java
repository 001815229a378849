package dev.hyperfresh.cli;

import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// `hyperfresh container …`, and those of its commands that act on a container where it is.
@Command(
    name = "container",
    description = "Containers in operating systems, which they can leave while they run.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    subcommands = {
      ContainerRunCommand.class,
      ContainerQueries.ListAll.class,
      ContainerQueries.Show.class,
      ContainerQueries.Logs.class,
      ContainerQueries.Stats.class,
      ContainerCommand.Exec.class,
      ContainerRelocateCommand.class,
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
