package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh os …`.
@Command(
    name = "os",
    description = "Operating systems for containers, replaced while the containers run.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    subcommands = {
      OsCommand.Create.class,
      OsCommand.ListAll.class,
      OsCommand.Show.class,
      OsCommand.Replace.class,
      OsCommand.Delete.class
    },
    footer = {
      "",
      "An OS is a virtual machine with a kernel, runc and CRIU. To replace it, another one boots",
      "beside it, and its containers move there: their memory is mapped and not copied.",
      "",
      "Examples:",
      "  hyperfresh release build os --kernel 6.1 --userland trixie",
      "  hyperfresh release build os --kernel 6.12 --userland trixie",
      "  hyperfresh os create os1 --release os-6.1",
      "  hyperfresh container run web1 --os os1 --bundle ./web1 --address 10.0.0.5/24",
      "  hyperfresh os replace os1 --to os-6.12"
    })
final class OsCommand {
  private OsCommand() {}

  @Command(
      name = "create",
      description = "Boot an OS, which can take containers then.",
      footer = {
        "",
        "Its hardware is the newest installed QEMU of this host, 10.0 or newer.",
        "",
        "Examples:",
        "  hyperfresh os create os1 --release os-6.12",
        "  hyperfresh os create os2 --release os-6.1 --memory 4G --vcpus 2"
      })
  static final class Create implements Runnable {
    @Mixin private Options options = new Options();

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

    @Parameters(paramLabel = "NAME", description = "1 to 32 letters, digits or '-'.")
    private String name = "";

    @Option(
        names = "--release",
        required = true,
        paramLabel = "RELEASE",
        description = "Such as os-6.12; `hyperfresh release build os` makes it.")
    private String release = "";

    @Option(
        names = "--memory",
        paramLabel = "SIZE",
        defaultValue = "1G",
        description =
            "Of the OS and all its containers, such as 768M or 2G, at least 256M (default:"
                + " ${DEFAULT-VALUE}).")
    private String memory = "";

    @Option(
        names = "--vcpus",
        paramLabel = "N",
        defaultValue = "1",
        description = "1 to 64 (default: ${DEFAULT-VALUE}).")
    private int vcpus;

    @Override
    public void run() {
      Map<String, Object> body = new LinkedHashMap<>();
      body.put("name", name);
      body.put("release", release);
      body.put("memory_mib", Size.mebibytes(memory, spec));
      body.put("vcpus", vcpus);
      JsonNode os = options.client().work("/v1/os", body, Output::progress);
      if (options.json()) {
        Output.json(os);
      } else {
        print(os);
      }
    }
  }

  private static void print(JsonNode os) {
    for (String field :
        List.of(
            "name",
            "state",
            "release",
            "kernel",
            "criu",
            "hardware",
            "accelerator",
            "accelerator_reason",
            "vcpus",
            "memory_mib",
            "boot_ms",
            "pid")) {
      System.out.printf("%-20s %s%n", field.replace('_', ' '), os.path(field).asString(""));
    }
    System.out.printf("%-20s %s%n", "containers", joined(os.path("containers")));
  }

  private static String joined(JsonNode names) {
    return names.isEmpty()
        ? "none"
        : String.join(" ", names.valueStream().map(JsonNode::asString).toList());
  }

  @Command(name = "list", description = "List the operating systems.")
  static final class ListAll implements Runnable {
    @Mixin private Options options = new Options();

    @Override
    public void run() {
      JsonNode answer = options.client().get("/v1/os");
      if (options.json()) {
        Output.json(answer);
        return;
      }
      Output.table(
          List.of("NAME", "STATE", "KERNEL", "ACCELERATOR", "MEMORY", "BOOT", "CONTAINERS"),
          answer.path("os").valueStream().map(ListAll::row).toList());
    }

    private static List<String> row(JsonNode os) {
      return List.of(
          os.path("name").asString(),
          os.path("state").asString(),
          os.path("kernel").asString(),
          os.path("accelerator").asString(),
          os.path("memory_mib").asLong() + " MiB",
          String.format(Locale.ROOT, "%.1f s", os.path("boot_ms").asDouble() / 1000),
          joined(os.path("containers")));
    }
  }

  @Command(name = "show", description = "Show an OS.")
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode os = options.client().get("/v1/os/" + name);
      if (options.json()) {
        Output.json(os);
      } else {
        print(os);
      }
    }
  }

  @Command(
      name = "replace",
      description = "Move all containers of an OS to a fresh one, and end the old one.",
      footer = {
        "",
        "The new OS boots beside the old one while the containers run. A container that cannot be",
        "moved runs on in the old OS, which then stays. The first one that could move and did not",
        "arrive stops the rest; the same order given again moves what is left. Containers that have",
        "ended are left alone.",
        "",
        "Examples:",
        "  hyperfresh os replace os1 --to os-6.12            boots os1-2",
        "  hyperfresh os replace os1 --to os2                an OS that is there already",
        "  hyperfresh os replace os1 --to os2 --dry-run      what would move"
      })
  static final class Replace implements Callable<Integer> {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "OLD")
    private String old = "";

    @Option(
        names = "--to",
        required = true,
        paramLabel = "RELEASE",
        description = "A release, or an OS that is there already.")
    private String to = "";

    @Option(
        names = "--parallel",
        paramLabel = "N",
        defaultValue = "2",
        description = "How many containers move at a time, 1 to 64 (default: ${DEFAULT-VALUE}).")
    private int parallel;

    @Option(
        names = "--canary",
        paramLabel = "N",
        defaultValue = "0",
        description = "How many move first and are watched before the rest.")
    private int canary;

    @Option(
        names = "--soak",
        paramLabel = "SECONDS",
        defaultValue = "0",
        description = "How long the first ones are watched.")
    private long soak;

    @Option(
        names = "--dry-run",
        description = "Say what would move to an OS that is there, and touch nothing.")
    private boolean dryRun;

    @Override
    public Integer call() {
      JsonNode result =
          options
              .client()
              .work(
                  "/v1/os/" + old + "/replacements",
                  Map.of(
                      "to",
                      to,
                      "parallel",
                      parallel,
                      "canary",
                      canary,
                      "soak_ms",
                      soak * 1000,
                      "dry_run",
                      dryRun),
                  Output::progress);
      return dryRun ? planned(result) : replaced(result);
    }

    private int planned(JsonNode plan) {
      if (options.json()) {
        Output.json(plan);
      } else {
        entries(plan);
      }
      return 0;
    }

    /// What became of each container, and why.
    private static void entries(JsonNode rollout) {
      rollout
          .path("containers")
          .forEach(entry ->
              System.out.println(
                  entry.path("container").asString()
                      + ": "
                      + entry.path("outcome").asString()
                      + (entry.path("detail").asString().isEmpty()
                          ? ""
                          : ", "
                              + entry.path("problem").asString()
                              + " "
                              + entry.path("detail").asString())));
    }

    private int replaced(JsonNode result) {
      boolean retired = result.path("old_retired").asBoolean();
      boolean complete =
          retired && result.path("misses").isEmpty() && result.path("stopped").asString().isEmpty();
      if (options.json()) {
        Output.json(result);
      } else {
        result
            .path("containers")
            .valueStream()
            .filter(entry -> entry.has("relocation"))
            .forEach(entry -> ContainerCommand.print(entry.path("relocation")));
        entries(result);
        System.out.println(
            retired
                ? "OS "
                    + old
                    + " is ended; "
                    + (complete
                        ? "its containers run in "
                        : "what is left of its containers is in ")
                    + result.path("os").asString()
                    + "."
                : "OS "
                    + old
                    + " stays with the containers that did not move."
                    + (result.path("os_withdrawn").asBoolean()
                        ? " OS " + result.path("os").asString() + " got none and is ended."
                        : ""));
      }
      return complete
          ? 0
          : (retired ? Problem.RELOCATE_LOST : Problem.RELOCATE_ROLLED_BACK).exitCode();
    }
  }

  @Command(name = "delete", description = "End an OS in which no container runs.")
  static final class Delete implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().delete("/v1/os/" + name);
      if (options.json()) {
        Output.json(answer);
      } else {
        System.out.println("OS " + name + " is deleted.");
      }
    }
  }
}
