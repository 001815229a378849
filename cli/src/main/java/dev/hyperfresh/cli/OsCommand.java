package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
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
    subcommands = {
      OsCommand.Create.class,
      OsCommand.ListAll.class,
      OsCommand.Show.class,
      OsCommand.Replace.class,
      OsCommand.Start.class,
      OsCommand.Stop.class,
      OsCommand.Autostart.class,
      OsCommand.Delete.class
    },
    footer = {
      "",
      "An OS is a virtual machine with a kernel, runc and CRIU. To replace it, another one boots",
      "beside it and its containers move there: their memory is mapped instead of copied.",
      "",
      "Examples:",
      "  hyperfresh release build os --kernel 6.1 --userland trixie",
      "  hyperfresh release build os --kernel 6.12 --userland trixie",
      "  hyperfresh os create os1 --release os-6.1",
      "  hyperfresh container run web1 --os os1 --bundle ./web1 --address 10.0.0.5/24",
      "  hyperfresh os replace os1 --to os-6.12"
    })
final class OsCommand {
  private static final VmCommand.Kind KIND =
      new VmCommand.Kind(
          "os",
          "OS",
          List.of(
              "name",
              "state",
              "autostart",
              "release",
              "kernel",
              "criu",
              "hardware",
              "accelerator",
              "accelerator_reason",
              "vcpus",
              "memory_mib",
              "boot_ms",
              "pid"),
          "containers",
          VmCommand.columns(List.of(), "containers"));

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private OsCommand() {}

  @Command(
      name = "create",
      description = "Boot an OS that containers can run in.",
      footer = {
        "",
        "Its hardware is the newest installed QEMU of this host, 10.0 or newer. Its memory, 256M",
        "or more, includes that of all its containers. Without KVM give it 1 processor: the timers",
        "of a second one may stop.",
        "",
        "Examples:",
        "  hyperfresh os create os1 --release os-6.12",
        "  hyperfresh os create os2 --release os-6.1 --memory 4G --vcpus 2"
      })
  static final class Create extends VmCommand.Create {
    Create() {
      super(KIND);
    }
  }

  @Command(name = "list", aliases = "ls", description = "List the operating systems.")
  static final class ListAll extends VmCommand.ListAll {
    ListAll() {
      super(KIND);
    }
  }

  @Command(name = "show", description = "Show an OS.")
  static final class Show extends VmCommand.Show {
    Show() {
      super(KIND);
    }
  }

  @Command(
      name = "replace",
      description = "Move all containers of an OS to a new one, and end the old one.",
      footer = {
        "",
        "The new OS boots beside the old one while the containers run. A container that cannot be",
        "moved keeps running in the old OS, which then stays. The first one that could move but",
        "did not arrive stops the rest; the same command again moves what is left. Containers that",
        "have ended are left alone.",
        "",
        "Examples:",
        "  hyperfresh os replace os1 --to os-6.12            boots os1-2",
        "  hyperfresh os replace os1 --to os2                an OS that runs already",
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
        description = "A release, or an OS that runs already.")
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
        description = "Say what would move to an OS that runs already, and touch nothing.")
    private boolean dryRun;

    @Override
    public Integer call() {
      Map<String, Object> order =
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
              dryRun);
      String path = "/v1/os/" + old + "/replacements";
      return dryRun
          ? planned(options.client().plan(path, order, Output::progress))
          : replaced(options.client().work(path, order, Output::progress));
    }

    private int planned(JsonNode plan) {
      if (!options.printed(plan)) {
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
      if (!options.printed(result)) {
        result
            .path("containers")
            .valueStream()
            .filter(entry -> entry.has("relocation"))
            .forEach(entry -> ContainerRelocateCommand.print(entry.path("relocation")));
        entries(result);
        System.out.println(
            retired
                ? "OS "
                    + old
                    + " is ended; "
                    + (complete
                        ? "its containers run in "
                        : "those of its containers that are left run in ")
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

  @Command(
      name = "start",
      description = "Boot an OS that is stopped or has ended by itself.",
      footer = {
        "",
        "It is made as it was: with its release, memory and processors.",
        "",
        "Example:",
        "  hyperfresh os start os1"
      })
  static final class Start extends VmCommand.Start {
    Start() {
      super(KIND);
    }
  }

  @Command(
      name = "stop",
      description = "End an OS in which no container runs, and keep it for a later start.",
      footer = {
        "",
        "After a boot of the host it is started nevertheless, unless its autostart is off.",
        "",
        "Example:",
        "  hyperfresh os stop os1"
      })
  static final class Stop extends VmCommand.Stop {
    Stop() {
      super(KIND);
    }
  }

  @Command(
      name = "autostart",
      description = "Decide whether an OS is started when the host has booted.",
      footer = {
        "",
        "It is on for a new one. The first daemon after a boot starts machines first, then",
        "operating systems, then guests, some at a time: `hyperfresh daemon --starts N`.",
        "",
        "Example:",
        "  hyperfresh os autostart os1 off"
      })
  static final class Autostart extends VmCommand.Autostart {
    Autostart() {
      super(KIND);
    }
  }

  @Command(
      name = "delete",
      aliases = "rm",
      description = "End an OS in which no container runs.",
      footer = {
        "",
        "Examples:",
        "  hyperfresh os delete os1",
        "  hyperfresh os delete os1 --force  even if it hangs; its containers are lost"
      })
  static final class Delete extends VmCommand.Delete {
    @Option(
        names = "--force",
        description = "Kill it with all containers in it, even if it does not answer.")
    private boolean force;

    Delete() {
      super(KIND);
    }

    @Override
    Map<String, String> query() {
      return force ? Map.of("force", "true") : Map.of();
    }
  }
}
