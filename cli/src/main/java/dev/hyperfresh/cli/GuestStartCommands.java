package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// The commands of `hyperfresh guest` about a guest's starts.
final class GuestStartCommands {
  private GuestStartCommands() {}

  @Command(
      name = "start",
      description = "Start a guest that is stopped, however it ended.",
      footer = {
        "",
        "It boots from its disks, on the release that ran it last or that its spec names. A guest",
        "that runs is left alone. One in doubt is not started: resume it, or stop it first.",
        "",
        "Examples:",
        "  hyperfresh guest start web1",
        "  hyperfresh guest start web1 --release qemu-10.0"
      })
  static final class Start implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Option(
        names = "--release",
        paramLabel = "RELEASE",
        description = "The release or machine to start it on.")
    private String release = "";

    @Override
    public void run() {
      GuestCommand.print(
          options,
          options
              .client()
              .work("/v1/guests/" + name + "/start", Map.of("release", release), Output::progress));
    }
  }

  @Command(
      name = "restart",
      description = "Stop a guest and start it again, as `guest stop` and `guest start` do.",
      footer = {
        "",
        "If it is clear in advance that the guest would not start, it is not stopped.",
        "",
        "Example:",
        "  hyperfresh guest restart web1"
      })
  static final class Restart implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Option(
        names = "--patience",
        paramLabel = "SECONDS",
        defaultValue = "30",
        description =
            "How long the guest may take to power itself off; 0 ends it at once (default: ${DEFAULT-VALUE}).")
    private int patience;

    @Option(
        names = "--release",
        paramLabel = "RELEASE",
        description = "The release or machine to start it on.")
    private String release = "";

    @Override
    public void run() {
      Map<String, ?> body = Map.of("patience_s", patience, "release", release);
      GuestCommand.print(
          options,
          options.client().work("/v1/guests/" + name + "/restart", body, Output::progress));
    }
  }

  /// Whether something is to be.
  enum Switch {
    /// It is.
    on,
    /// It is not.
    off
  }

  @Command(
      name = "autostart",
      description = "Decide whether a guest is started when the host has booted.",
      footer = {
        "",
        "The first daemon after a boot starts all guests with autostart in the order of their",
        "names, some at a time: `hyperfresh daemon --starts N`.",
        "",
        "Examples:",
        "  hyperfresh guest autostart web1 on",
        "  hyperfresh guest autostart web1 off"
      })
  static final class Autostart implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(index = "0", paramLabel = "GUEST")
    private String name = "";

    @Parameters(index = "1", paramLabel = "on|off")
    private Switch wish = Switch.on;

    @Override
    public void run() {
      Map<String, ?> body = Map.of("on", wish == Switch.on);
      GuestCommand.print(
          options,
          options.client().work("/v1/guests/" + name + "/autostart", body, Output::progress));
    }
  }

  @Command(
      name = "edit",
      description = "Change a guest's spec; the next start takes it.",
      footer = {
        "",
        "A guest that runs is not touched. The kernel and the images of the disks are looked up",
        "anew at that start. The name stays. An adopted guest cannot be edited.",
        "",
        "Example:",
        "  hyperfresh guest edit web1 -f web1.yaml"
      })
  static final class Edit implements Runnable {
    @Mixin private Options options = new Options();

    @Parameters(paramLabel = "GUEST")
    private String name = "";

    @Option(
        names = {"-f", "--file"},
        required = true,
        paramLabel = "SPEC",
        description = "The guest's whole new spec, in YAML; see `guest create --help`.")
    private Path file = Path.of("");

    @Override
    public void run() {
      GuestCommand.print(
          options,
          options
              .client()
              .work("/v1/guests/" + name + "/edit", GuestCommand.document(file), Output::progress));
    }
  }
}
