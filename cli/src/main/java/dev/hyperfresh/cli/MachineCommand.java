package dev.hyperfresh.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh machine …`.
@Command(
    name = "machine",
    description = "Hypervisors that are machines: with a kernel, KVM and QEMU of their own.",
    synopsisSubcommandLabel = "COMMAND",
    mixinStandardHelpOptions = true,
    subcommands = {
      MachineCommand.Create.class,
      MachineCommand.ListAll.class,
      MachineCommand.Show.class,
      MachineCommand.Delete.class,
      TuneCommand.class
    },
    footer = {
      "",
      "A machine is a virtual machine of this host in which guests run. Its name stands where the",
      "name of a release stands: in a guest's spec (`release: m1`) and in `replace GUEST --to m1`.",
      "",
      "Examples:",
      "  hyperfresh release build machine --kernel 6.12 --qemu 10.0",
      "  hyperfresh machine create m1 --release machine-6.12+qemu-10.0",
      "  hyperfresh machine list",
      "  hyperfresh replace web1 --to m1",
      "  hyperfresh replace --machine m1 --to machine-6.12    the whole hypervisor",
      "  hyperfresh machine delete m1",
      "  hyperfresh machine tune                            what makes nesting cheap on this host"
    })
final class MachineCommand {
  private MachineCommand() {}

  @Command(
      name = "create",
      description = "Boot a machine, which can take guests then.",
      footer = {
        "",
        "Its hardware is the newest installed QEMU of this host, 10.0 or newer.",
        "",
        "Examples:",
        "  hyperfresh machine create m1 --release machine-6.12+qemu-10.0",
        "  hyperfresh machine create m2 --release machine-6.1 --memory 2G --vcpus 2"
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
        description =
            "Such as machine-6.12+qemu-10.0; `hyperfresh release build machine` makes it.")
    private String release = "";

    @Option(
        names = "--memory",
        paramLabel = "SIZE",
        defaultValue = "1G",
        description =
            "The machine's own memory, such as 768M or 2G, at least 512M (default:"
                + " ${DEFAULT-VALUE}). Guests' memory comes on top.")
    private String memory = "";

    @Option(
        names = "--vcpus",
        paramLabel = "N",
        defaultValue = "1",
        description =
            "1 to 64 (default: ${DEFAULT-VALUE}); a machine that is translated always has 1.")
    private int vcpus;

    @Override
    public void run() {
      Map<String, Object> body = new LinkedHashMap<>();
      body.put("name", name);
      body.put("release", release);
      body.put("memory_mib", Size.mebibytes(memory, spec));
      body.put("vcpus", vcpus);
      JsonNode machine = options.client().work("/v1/machines", body, Output::progress);
      if (options.json()) {
        Output.json(machine);
      } else {
        print(machine);
      }
    }
  }

  private static void print(JsonNode machine) {
    for (String field :
        List.of(
            "name",
            "state",
            "release",
            "kernel",
            "qemu",
            "hardware",
            "accelerator",
            "accelerator_reason",
            "vcpus",
            "memory_mib",
            "memory_free_at_boot_mib",
            "boot_ms",
            "pid",
            "files")) {
      System.out.printf("%-24s %s%n", field.replace('_', ' '), machine.path(field).asString(""));
    }
    System.out.printf("%-24s %s%n", "guests", joined(machine.path("guests")));
  }

  private static String joined(JsonNode names) {
    return names.isEmpty()
        ? "none"
        : String.join(" ", names.valueStream().map(JsonNode::asString).toList());
  }

  @Command(name = "list", description = "List the machines.")
  static final class ListAll implements Runnable {
    @Mixin private Options options = new Options();

    @Override
    public void run() {
      JsonNode answer = options.client().get("/v1/machines");
      if (options.json()) {
        Output.json(answer);
        return;
      }
      Output.table(
          List.of("NAME", "STATE", "KERNEL", "QEMU", "ACCELERATOR", "MEMORY", "BOOT", "GUESTS"),
          answer.path("machines").valueStream().map(ListAll::row).toList());
    }

    private static List<String> row(JsonNode m) {
      return List.of(
          m.path("name").asString(),
          m.path("state").asString(),
          m.path("kernel").asString(),
          m.path("qemu").asString(),
          m.path("accelerator").asString(),
          m.path("memory_mib").asLong() + " MiB",
          String.format(Locale.ROOT, "%.1f s", m.path("boot_ms").asDouble() / 1000),
          joined(m.path("guests")));
    }
  }

  @Command(name = "show", description = "Show a machine.")
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode machine = options.client().get("/v1/machines/" + name);
      if (options.json()) {
        Output.json(machine);
      } else {
        print(machine);
      }
    }
  }

  @Command(name = "delete", description = "End a machine in which no guest runs.")
  static final class Delete implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().delete("/v1/machines/" + name);
      if (options.json()) {
        Output.json(answer);
      } else {
        System.out.println("machine " + name + " is deleted.");
      }
    }
  }
}
