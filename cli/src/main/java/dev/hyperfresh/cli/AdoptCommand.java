package dev.hyperfresh.cli;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
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
      "Example:",
      "  hyperfresh guest adopt web1 --pid 4711 --qmp /run/web1.qmp"
    })
final class AdoptCommand implements Runnable {
  @Mixin private Options options = new Options();

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

  @Override
  public void run() {
    Map<String, Object> body = new HashMap<>();
    body.put("pid", pid);
    body.put("qmp", qmp.toAbsolutePath().toString());
    if (console != null) {
      body.put("console", console.toAbsolutePath().toString());
    }
    JsonNode guest = options.client().work("/v1/guests/" + name + "/adopt", body, Output::progress);
    GuestCommand.print(options, guest);
  }
}
