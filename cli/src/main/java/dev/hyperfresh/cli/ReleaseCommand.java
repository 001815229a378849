package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
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
      ReleaseCommand.Remove.class
    },
    footer = {
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
      description = "Fetch a release from Debian's packages, beside the system's own QEMU.",
      footer = {"", "Example:", "  hyperfresh release fetch qemu-10.0"})
  static final class Fetch implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "NAME", description = "Such as qemu-7.2 or qemu-10.0.")
    private String name = "";

    @Override
    public void run() {
      installed(
          options, options.client().work("/v1/releases", Map.of("name", name), Output::progress));
    }
  }

  @Command(name = "add", description = "Register a QEMU that this host already has.")
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
      description = "Build a release of machines or operating systems from Debian's packages.",
      footer = {
        "",
        "A release of machines is a kernel, QEMU and a small agent in one image; one of operating",
        "systems is a kernel, runc, CRIU and the agent. The same packages give the same bytes. The",
        "build needs gcc, binutils, the C library's headers and xz.",
        "",
        "Examples:",
        "  hyperfresh release build machine --kernel 6.1 --qemu 7.2",
        "  hyperfresh release build machine --kernel 6.12 --qemu 10.0",
        "  hyperfresh release build os --kernel 6.12 --userland trixie"
      })
  static final class Build implements Runnable {
    /// What can be built.
    enum Kind {
      machine,
      os
    }

    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "KIND", description = "${COMPLETION-CANDIDATES}")
    private Kind kind = Kind.machine;

    @Option(
        names = "--kernel",
        required = true,
        paramLabel = "SERIES",
        description = "Such as 6.1 or 6.12.")
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

    @CommandLine.Spec
    private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

    @Override
    public void run() {
      boolean isMachine = kind == Kind.machine;
      if (isMachine == qemu.isEmpty() || isMachine != userland.isEmpty()) {
        throw new ParameterException(
            spec.commandLine(), "A machine needs --qemu, an OS needs --userland; give only one.");
      }
      JsonNode release =
          options
              .client()
              .work(
                  "/v1/releases",
                  Map.of(
                      "kernel",
                      kernel,
                      isMachine ? "qemu" : "userland",
                      isMachine ? qemu : userland),
                  Output::progress);
      if (options.printed(release)) {
        return;
      }
      System.out.printf(
          "%s is installed: an image of %d MiB, SHA-256 %s.%n",
          release.path("name").asString(),
          release.path("image_bytes").asLong() >> 20,
          release.path("sha256").asString());
    }
  }

  private static void installed(Options options, JsonNode release) {
    if (!options.printed(release)) {
      System.out.println(release.path("name").asString() + " is installed.");
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
}
