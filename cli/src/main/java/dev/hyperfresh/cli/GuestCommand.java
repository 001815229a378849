package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest …`.
@Command(
    name = "guest",
    description = "The guests of a daemon.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      GuestCommand.Create.class,
      AdoptCommand.class,
      GuestCommand.ListAll.class,
      GuestCommand.Show.class,
      ConsoleCommand.class,
      GuestCommand.Resume.class,
      GuestStartCommands.Start.class,
      GuestStopCommand.class,
      GuestStartCommands.Restart.class,
      GuestStartCommands.Autostart.class,
      GuestStartCommands.Edit.class,
      GuestCommand.Delete.class
    })
final class GuestCommand {
  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private GuestCommand() {}

  @Command(
      name = "create",
      description = "Create and start a guest.",
      footer = {
        "",
        "A spec. Only name and kernel or disks are required. Paths start at the spec's folder:",
        "  name: web1",
        "  vcpus: 1",
        "  memory: 512M                # M or G",
        "  huge-pages: 2M              # or 1G; default: ordinary pages",
        "  numa:                       # default: no nodes; else all memory and each vcpu on one",
        "    - memory: 512M",
        "      vcpus: 0                # such as 0-3,8",
        "      host-nodes: 0           # of the host; default: any",
        "  machine: pc-q35-7.2         # pinned: every later release must know it",
        "  cpu: qemu64",
        "  accelerator: auto           # auto, kvm or tcg",
        "  release: qemu-7.2           # or a machine; default: the newest that knows it",
        "  kernel: vmlinuz",
        "  initrd: initrd",
        "  cmdline: console=ttyS0",
        "  disks:",
        "    - path: disk.qcow2",
        "      format: qcow2           # raw or qcow2; never guessed",
        "      readonly: false",
        "  nics:",
        "    - bridge: br0",
        "      mac: 52:54:00:12:34:56  # default: made from the guest's name",
        "      tap: web1-0             # default: likewise",
        "  firmware: bios              # uefi, or uefi-secure: boots only what is signed",
        "  tpm: false                  # true: an emulated TPM 2.0 (swtpm)",
        "  agent: false                # true: a channel to an agent in the guest",
        "  clock: keep                 # step: the agent sets the clock afterwards",
        "  on-crash: stop              # restart: start it again when its hypervisor ends",
        "  on-reboot: restart          # stop: a reset by the guest stops it",
        "  on-poweroff: stop           # restart: start it again when it powers itself off",
        "  # All fields, with examples: docs/GUEST-SPEC.md",
        "",
        "Examples:",
        "  hyperfresh guest create -f web1.yaml",
        "  hyperfresh guest create -f web1.yaml --no-start",
        "  sed s/web1/web2/ web1.yaml | hyperfresh guest create -f -"
      })
  static final class Create implements Runnable {
    @Mixin private Options options = new Options();

    @Option(
        names = {"-f", "--file"},
        required = true,
        paramLabel = "SPEC",
        description =
            "The guest's spec, in YAML; - reads standard input, and paths start at the present"
                + " folder.")
    private Path file = Path.of("");

    @Option(names = "--no-start", description = "Create it only; `guest start` starts it.")
    private boolean noStart;

    @Override
    public void run() {
      Map<String, Object> body = document(file);
      body.put("start", !noStart);
      print(options, options.client().work("/v1/guests", body, Output::progress));
    }
  }

  /// The spec in a file, or on standard input when it is called `-`, as requests have it.
  static Map<String, Object> document(Path file) {
    String document;
    try {
      document =
          file.toString().equals("-")
              ? new String(System.in.readAllBytes(), StandardCharsets.UTF_8)
              : Files.readString(file);
    } catch (IOException e) {
      throw Problem.SPEC_FILE_MISSING.because(file + " cannot be read: " + e.getMessage(), e);
    }
    // Also where "-" would lie as a file.
    Path folder = file.toAbsolutePath().getParent();
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("document", document);
    body.put("base", String.valueOf(folder == null ? "/" : folder));
    return body;
  }

  @Command(
      name = "list",
      aliases = "ls",
      description = "List the guests.",
      footer = {
        "",
        "Examples:",
        "  hyperfresh guest list",
        "  hyperfresh guest list --watch",
        "  hyperfresh guest list -o name"
      })
  static final class ListAll implements Runnable {
    private static final Listing LISTING = new Listing("guests", "guest", columns());

    @Mixin private Options options = new Options();
    @Mixin private Listing.Watching watching = new Listing.Watching();

    private static Map<String, Function<JsonNode, String>> columns() {
      Map<String, Function<JsonNode, String>> columns = new LinkedHashMap<>();
      columns.put("GUEST", guest -> Output.text(guest, "name"));
      columns.put("STATE", guest -> Output.text(guest, "state"));
      columns.put("RELEASE", guest -> Output.text(guest, "release"));
      columns.put("ACCELERATOR", guest -> Output.text(guest, "accelerator"));
      columns.put("MEMORY", guest -> guest.path("memory_mib").asLong() + " MiB");
      columns.put("MACHINE", guest -> Output.text(guest, "machine"));
      columns.put("PID", guest -> Output.text(guest, "pid"));
      columns.put("AUTOSTART", guest -> guest.path("autostart").asBoolean(false) ? "on" : "off");
      columns.put("RESTARTS ON", GuestCommand::restartsOn);
      return columns;
    }

    @Override
    public void run() {
      LISTING.show(options, watching);
    }
  }

  /// The ends after which it is started again.
  private static String restartsOn(JsonNode guest) {
    String ends =
        Stream.of("crash", "reboot", "poweroff")
            .filter(end -> guest.path("on_" + end).asString("").equals("restart"))
            .collect(Collectors.joining(", "));
    return ends.isEmpty() ? "-" : ends;
  }

  static void print(Options options, JsonNode guest) {
    if (options.printed(guest)) {
      return;
    }
    guest.forEachEntry((key, value) ->
        System.out.printf(
            "%-19s %s%n", key, value.isValueNode() ? Output.text(guest, key) : value.toString()));
  }

  @Command(name = "show", description = "Show one guest.")
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Override
    public void run() {
      print(options, options.client().get("/v1/guests/" + name));
    }
  }

  @Command(
      name = "resume",
      description = "Resume a paused guest, or wake a suspended one.",
      footer = {
        "",
        "After a rollback, a guest stays paused if its hypervisor does not answer or does not",
        "resume it; `guest show` says why. It resumes by itself when the hypervisor answers again.",
        "A guest in doubt stays paused until this command.",
        "",
        "Example:",
        "  hyperfresh guest resume web1"
      })
  static final class Resume implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Override
    public void run() {
      print(options, options.client().post("/v1/guests/" + name + "/resume", Map.of()));
    }
  }

  @Command(
      name = "delete",
      aliases = "rm",
      description = "Remove a guest and all that HyperFresh created for it; its disk images stay.",
      footer = {
        "",
        "Examples:",
        "  hyperfresh guest delete web1",
        "  hyperfresh guest delete web1 --force"
      })
  static final class Delete implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Option(names = "--force", description = "End it first if it runs, without asking it.")
    private boolean force;

    @Override
    public void run() {
      JsonNode answer =
          options.client().delete("/v1/guests/" + name, force ? Map.of("force", "true") : Map.of());
      if (!options.printed(answer)) {
        System.out.println(name + " is deleted; its disk images stay.");
      }
    }
  }
}
