package dev.hyperfresh.cli;

import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh volume …`.
@Command(
    name = "volume",
    description = "Folders of containers that stay when the container is removed.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      VolumeCommand.Create.class,
      VolumeCommand.ListAll.class,
      VolumeCommand.Remove.class
    },
    footer = {
      "",
      "`container run --volume NAME:/PATH` gives a volume to a container, and creates it if it",
      "does not exist. No other container can have it until `container rm`. It moves with the",
      "container from OS to OS.",
      "",
      "Examples:",
      "  hyperfresh volume create data",
      "  hyperfresh container run db1 --os os1 --bundle ./db1 -v data:/var/lib/db",
      "  hyperfresh volume list",
      "  hyperfresh volume rm data"
    })
final class VolumeCommand {
  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private VolumeCommand() {}

  @Command(
      name = "create",
      description = "Create an empty volume.",
      footer = {"", "Example:", "  hyperfresh volume create data"})
  static final class Create implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME", description = "1 to 32 letters, digits or '-'.")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().post("/v1/volumes", Map.of("name", name));
      if (!options.printed(answer)) {
        System.out.println("Volume " + name + " is created.");
      }
    }
  }

  @Command(
      name = "list",
      aliases = "ls",
      description = "List the volumes and their containers.",
      footer = {"", "Example:", "  hyperfresh volume list"})
  static final class ListAll implements Runnable {
    @Mixin private Options options = new Options();

    @Override
    public void run() {
      JsonNode answer = options.client().get("/v1/volumes");
      if (options.printed(answer)) {
        return;
      }
      Output.table(
          List.of("NAME", "CONTAINER", "CREATED", "FILES"),
          answer.path("volumes").valueStream().map(ListAll::row).toList());
    }

    private static List<String> row(JsonNode v) {
      return List.of(
          v.path("name").asString(),
          v.path("container").asString("-"),
          v.path("created_at").asString("-").replaceFirst("\\..*", "Z"),
          v.path("fault").asString(v.path("path").asString()));
    }
  }

  @Command(
      name = "rm",
      aliases = {"remove", "delete"},
      description = "Remove a volume that no container has, with its contents.",
      footer = {"", "Example:", "  hyperfresh volume rm data"})
  static final class Remove implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().delete("/v1/volumes/" + name, Map.of());
      if (!options.printed(answer)) {
        System.out.println("Volume " + name + " and its contents are removed.");
      }
    }
  }
}
