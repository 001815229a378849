package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest adopt`.
@Command(
    name = "adopt",
    description = "Manage a running QEMU that HyperFresh did not start.",
    footer = {
      "",
      "The guest is not paused, and nothing is changed unless its hypervisor can be replaced like",
      "any other. Its RAM must be shared (memory-backend-file or memfd with share=on), and its",
      "control socket (QMP) must be free. First disable anything that would restart it when it",
      "ends.",
      "",
      "With --copy, RAM that is private to the process (-m alone) is copied once, to a new process.",
      "The guest runs meanwhile, is slowed down if it writes faster than can be copied, and stands",
      "still at the end for about --max-downtime at most. If that cannot be reached within --timeout,",
      "it is given up: the guest runs on in its first process and is not adopted. The host needs the",
      "guest's memory twice until then. If this command is interrupted, the daemon goes on.",
      "",
      "Examples:",
      "  hyperfresh guest adopt web1 --pid 4711 --qmp /run/web1.qmp",
      "  hyperfresh guest adopt web1 --pid 4711 --qmp /run/web1.qmp --copy",
      "  hyperfresh guest adopt db1 --pid 4712 --qmp /run/db1.qmp --copy --to qemu-10.0 --timeout 1h"
    })
final class AdoptCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(paramLabel = "GUEST", description = "The guest's name from now on.")
  private String name = "";

  @Option(
      names = "--pid",
      required = true,
      paramLabel = "PID",
      description = "The process of the QEMU.")
  private int pid;

  @Option(
      names = "--qmp",
      required = true,
      paramLabel = "SOCKET",
      description = "Its control socket (QMP).")
  private Path qmp = Path.of("");

  @Option(
      names = "--console",
      paramLabel = "SOCKET",
      description = "The socket of its serial console (default: what its command line says).")
  private @Nullable Path console;

  @Option(
      names = "--copy",
      description = "Copy RAM once that is private to the process, instead of refusing the guest.")
  private boolean copy;

  @Option(
      names = "--to",
      paramLabel = "RELEASE",
      defaultValue = "",
      description =
          "With --copy: the release that runs the guest then (default: the newest that knows its"
              + " machine type).")
  private String to = "";

  @Option(
      names = "--max-downtime",
      paramLabel = "MS",
      description =
          "With --copy: for how long the guest may be estimated to stand still at the end, in"
              + " milliseconds, 1 to 10000 (default: 300).")
  private @Nullable Integer maxDowntime;

  @Option(
      names = "--timeout",
      paramLabel = "TIME",
      defaultValue = "",
      description = "With --copy: how long it may take, such as 30s, 10m or 2h (default: 10m).")
  private String timeout = "";

  @Override
  public void run() {
    if (!copy && !(to.isEmpty() && timeout.isEmpty() && maxDowntime == null)) {
      throw new ParameterException(
          spec.commandLine(),
          "--to, --max-downtime and --timeout are for an adoption with --copy.");
    }
    Map<String, Object> body = new HashMap<>();
    body.put("pid", pid);
    body.put("qmp", qmp.toAbsolutePath().toString());
    if (console != null) {
      body.put("console", console.toAbsolutePath().toString());
    }
    if (copy) {
      body.put("copy", true);
      putLimits(body);
    }
    JsonNode guest = options.client().work("/v1/guests/" + name + "/adopt", body, Output::progress);
    GuestCommand.print(options, guest);
  }

  /// Those that are not given are the daemon's.
  private void putLimits(Map<String, Object> body) {
    if (!to.isEmpty()) {
      body.put("to", to);
    }
    if (maxDowntime != null) {
      body.put("max_downtime_ms", maxDowntime);
    }
    if (!timeout.isEmpty()) {
      body.put("timeout_s", Period.parse(timeout, spec).toSeconds());
    }
  }
}
