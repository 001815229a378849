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
    description = "Containers, which can move to another operating system while they run.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      ContainerRunCommand.class,
      ContainerQueries.ListAll.class,
      ContainerQueries.Show.class,
      ContainerQueries.Logs.class,
      ContainerQueries.Stats.class,
      ContainerCommand.Exec.class,
      ContainerRelocateCommand.class,
      ContainerStopCommand.class,
      ContainerCommand.Start.class,
      ContainerCommand.Remove.class,
      ContainerCommand.Resume.class
    },
    footer = {
      "",
      "A container starts from an OCI bundle (a folder with config.json and a root file system, as",
      "`umoci unpack` or `runc spec` create it) or from an image in a file on this host.",
      "",
      "Examples:",
      "  hyperfresh container run web1 --os os1 --bundle ./web1 \\",
      "      --address 10.0.0.5/24 --bridge br0",
      "  hyperfresh container logs web1",
      "  hyperfresh container show web1",
      "  hyperfresh container exec web1 ls -l /",
      "  hyperfresh container relocate web1 --to os2",
      "  hyperfresh container stop web1",
      "  hyperfresh container start web1",
      "  hyperfresh container rm web1"
    })
final class ContainerCommand {
  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private ContainerCommand() {}

  @Command(
      name = "exec",
      description = "Run a program in a container.",
      footer = {
        "",
        "The program's input is empty. The command ends with the program's exit code. Options of",
        "this command come before NAME; everything after NAME belongs to the program.",
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
      if (!options.printed(done)) {
        System.out.print(done.path("output").asString());
      }
      return done.path("code").asInt();
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
            "Where to start it (default: in the OS where it ran last, or if that has ended, in the"
                + " one with the most free memory).")
    private String os = "";

    @Override
    public void run() {
      JsonNode container =
          options
              .client()
              .work("/v1/containers/" + name + "/start", Map.of("os", os), Output::progress);
      if (!options.printed(container)) {
        System.out.printf("%s runs in %s.%n", name, container.path("os").asString());
      }
    }
  }

  @Command(
      name = "rm",
      aliases = {"remove", "delete"},
      description = "Remove a container that has ended, and its files.",
      footer = {
        "",
        "It also removes files of a container that is no longer known; `container list --all`",
        "lists them.",
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
      if (!options.printed(answer)) {
        System.out.println(name + " and its files are removed; volumes stay.");
      }
    }
  }

  @Command(
      name = "resume",
      description = {
        "Resume a container that is paused because it may have run in an OS that is gone.",
        "It may repeat what it did there."
      })
  static final class Resume implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().post("/v1/containers/" + name + "/resume", Map.of());
      if (!options.printed(answer)) {
        System.out.println(name + " is resumed.");
      }
    }
  }
}
