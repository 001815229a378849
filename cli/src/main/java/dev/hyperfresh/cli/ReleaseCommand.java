package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh release …`.
@Command(
    name = "release",
    description = "The hypervisor releases that guests can run on.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {
      ReleaseCommand.ListAll.class,
      ReleaseCommand.Show.class,
      ReleaseCommand.Fetch.class,
      ReleaseCommand.Build.class,
      ReleaseCommand.Add.class,
      ReleaseCommand.Verify.class,
      ReleaseCommand.Remove.class,
      ReleaseCommand.Prune.class
    },
    footer = {
      "",
      "A release is one build. Several builds of a version stand side by side, such as",
      "qemu-10.0.2+deb13u1 and qemu-10.0.2+deb13u2. Wherever a release is named,",
      "  qemu-10.0, qemu-10.0.2   mean the newest installed build of that version,",
      "  latest                   means the newest installed QEMU,",
      "  installed                means what this host's own QEMU is now; it is copied first.",
      "",
      "Examples:",
      "  hyperfresh release fetch qemu-7.2",
      "  hyperfresh release fetch qemu-10.0",
      "  hyperfresh release build machine --kernel 6.12 --qemu 10.0",
      "  hyperfresh release add /usr/bin/qemu-system-x86_64",
      "  hyperfresh release list"
    })
final class ReleaseCommand {
  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private ReleaseCommand() {}

  @Command(name = "list", aliases = "ls", description = "List the installed releases.")
  static final class ListAll implements Runnable {
    @Mixin private Options options = new Options();

    @Override
    public void run() {
      JsonNode answer = options.client().get("/v1/releases");
      if (options.printed(answer)) {
        return;
      }
      List<List<String>> rows =
          answer
              .path("releases")
              .valueStream()
              .map(r ->
                  List.of(
                      r.path("name").asString(),
                      r.path("kind").asString(),
                      r.path("source").asString()))
              .toList();
      Output.table(List.of("RELEASE", "KIND", "SOURCE"), rows);
    }
  }

  @Command(name = "show", description = "Show a release and what it supports.")
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode release = options.client().get("/v1/releases/" + name);
      if (options.printed(release)) {
        return;
      }
      for (String field : List.of("name", "kind", "version", "source", "binary", "sha256")) {
        System.out.printf("%-9s %s%n", field, release.path(field).asString());
      }
      System.out.println("machines  " + joined(release.path("machines")));
      System.out.println("cpus      " + joined(release.path("cpus")));
    }

    private static String joined(JsonNode list) {
      return String.join(" ", list.valueStream().map(JsonNode::asString).toList());
    }
  }

  @Command(
      name = "fetch",
      description = "Fetch the newest build of a release, beside those that are here.",
      footer = {
        "",
        "Builds come from the packages of this host's distribution; on Debian, those that it does not",
        "have come from Debian 13 and its backports. The system's own QEMU is never changed. Builds",
        "that are here stay until `hyperfresh release remove` or `prune`.",
        "",
        "Examples:",
        "  hyperfresh release fetch qemu-10.0",
        "  hyperfresh release fetch qemu-11.1",
        "  hyperfresh release fetch installed     copy this host's own QEMU"
      })
  static final class Fetch implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME", description = "Such as qemu-10.0 or qemu-11.1.")
    private String name = "";

    @Override
    public void run() {
      installed(
          options, options.client().work("/v1/releases", Map.of("name", name), Output::progress));
    }
  }

  @Command(name = "add", description = "Copy a QEMU that this host already has, with its firmware.")
  static final class Add implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "PATH", description = "Such as /usr/bin/qemu-system-x86_64.")
    private Path path = Path.of("");

    @Override
    public void run() {
      Map<String, String> body = Map.of("path", path.toAbsolutePath().toString());
      installed(options, options.client().work("/v1/releases", body, Output::progress));
    }
  }

  @Command(
      name = "build",
      description =
          "Build a release of machines, operating systems or QEMU from Debian's packages.",
      footer = {
        "",
        "A release of machines is a kernel, QEMU and a small agent in one image; one of operating",
        "systems is a kernel, runc, CRIU and the agent. The same packages give the same bytes. The",
        "build needs gcc, binutils, the C library's headers and xz.",
        "",
        "A QEMU is built from Debian 13's source with patches of HyperFresh that make a replacement",
        "shorter. Guests move between it and Debian's own builds in both directions. It is used only",
        "where it is named, such as qemu-10.0.13+tuned. The compiler comes from Debian's packages; the",
        "build takes 2 GB of disk, and many minutes behind the guests.",
        "",
        "Examples:",
        "  hyperfresh release build machine --kernel 6.1 --qemu 7.2",
        "  hyperfresh release build machine --kernel 6.12 --qemu 10.0",
        "  hyperfresh release build os --kernel 6.12 --userland trixie",
        "  hyperfresh release build qemu --from debian-10.0 --tuned"
      })
  static final class Build implements Runnable {
    /// What can be built.
    enum Kind {
      machine,
      os,
      qemu
    }

    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "KIND", description = "${COMPLETION-CANDIDATES}")
    private Kind kind = Kind.machine;

    @Option(
        names = "--kernel",
        paramLabel = "SERIES",
        description = "The kernel of a machine or an OS, such as 6.1 or 6.12.")
    private String kernel = "";

    @Option(
        names = "--qemu",
        paramLabel = "SERIES",
        description = "The QEMU of a machine, such as 7.2 or 10.0.")
    private String qemu = "";

    @Option(
        names = "--userland",
        paramLabel = "SUITE",
        description = "The Debian suite of an OS's runc and CRIU: trixie.")
    private String userland = "";

    @Option(
        names = "--from",
        paramLabel = "SOURCE",
        description = "The source of a QEMU: debian-10.0, or a version of it.")
    private String from = "";

    @Option(names = "--tuned", description = "Build a QEMU with the patches of HyperFresh.")
    private boolean tuned;

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

    @Override
    public void run() {
      Map<String, String> order = order();
      JsonNode release = options.client().work("/v1/releases", order, Output::progress);
      if (kind == Kind.qemu) {
        installed(options, release);
      } else if (!options.printed(release)) {
        System.out.printf(
            "%s is installed: an image of %d MiB, SHA-256 %s.%n",
            release.path("name").asString(),
            release.path("image_bytes").asLong() >> 20,
            release.path("sha256").asString());
      }
    }

    private Map<String, String> order() {
      return switch (kind) {
        case machine -> ordered(List.of("kernel", "qemu"));
        case os -> ordered(List.of("kernel", "userland"));
        case qemu -> {
          Map<String, String> order = ordered(List.of("from"));
          if (!tuned) {
            throw new ParameterException(
                spec.commandLine(),
                "Say --tuned: without patches, `hyperfresh release fetch` brings what Debian has built.");
          }
          yield order;
        }
      };
    }

    /// The options that this kind needs, and no other.
    private Map<String, String> ordered(List<String> needed) {
      Map<String, String> given = new TreeMap<>();
      given.put("kernel", kernel);
      given.put("qemu", qemu);
      given.put("userland", userland);
      given.put("from", from);
      given.values().removeIf(String::isEmpty);
      if (!given.keySet().equals(Set.copyOf(needed)) || (tuned && kind != Kind.qemu)) {
        throw new ParameterException(
            spec.commandLine(),
            "A machine needs --kernel and --qemu, an OS --kernel and --userland, a QEMU --from and"
                + " --tuned; give only those.");
      }
      return given;
    }
  }

  private static void installed(Options options, JsonNode release) {
    if (!options.printed(release)) {
      System.out.println(
          release.path("name").asString()
              + switch (release.path("fetch").asString("")) {
                case "newest" -> " is already the newest.";
                case "unasked" -> " is installed; whether there is a newer build is not known.";
                default -> " is installed.";
              });
    }
  }

  @Command(name = "verify", description = "Check that a release is unchanged and runs.")
  static final class Verify implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode release = options.client().post("/v1/releases/" + name + "/verify", Map.of());
      if (!options.printed(release)) {
        System.out.println(
            release.path("name").asString()
                + (release.path("files_compared").asBoolean(true)
                    ? " is unchanged and runs."
                    : " runs and its binary is unchanged. Its other files were not recorded when it was"
                        + " added; they are recorded now."));
      }
    }
  }

  @Command(name = "remove", aliases = "rm", description = "Remove a release that is not in use.")
  static final class Remove implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME")
    private String name = "";

    @Override
    public void run() {
      JsonNode answer = options.client().delete("/v1/releases/" + name);
      if (!options.printed(answer)) {
        System.out.println(name + " is removed.");
      }
    }
  }

  @Command(
      name = "prune",
      description = "Remove builds that nobody uses.",
      footer = {
        "",
        "Kept are the newest build of each version, the one that is this host's own QEMU now, what",
        "runs or is being started, and what was installed in the last days. Releases of machines and",
        "operating systems are not touched.",
        "",
        "Example:",
        "  hyperfresh release prune --dry-run"
      })
  static final class Prune implements Runnable {
    @Mixin private Options options = new Options();

    @Option(names = "--dry-run", description = "Only say what would be removed.")
    private boolean dryRun;

    @Option(
        names = "--days",
        paramLabel = "N",
        defaultValue = "30",
        description = "Keep what was installed in the last N days; ${DEFAULT-VALUE} by default.")
    private int days;

    @Override
    public void run() {
      JsonNode answer =
          options.client().post("/v1/prunings", Map.of("dry_run", dryRun, "days", days));
      if (options.printed(answer)) {
        return;
      }
      String done = dryRun ? " would be removed." : " is removed.";
      answer
          .path("removed")
          .valueStream()
          .forEach(name -> System.out.println(name.asString() + done));
      answer
          .path("kept")
          .properties()
          .forEach(
              one -> System.out.println(one.getKey() + " is kept: " + one.getValue().asString()));
      if (answer.path("removed").isEmpty()) {
        System.out.println("There is nothing to remove.");
      }
    }
  }
}
