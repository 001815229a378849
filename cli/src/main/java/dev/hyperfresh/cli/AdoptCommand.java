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
    description = "Take a running QEMU under management that HyperFresh did not start.",
    footer = {
      "",
      "The guest is not paused, and nothing is changed unless it can be replaced later like any",
      "other. Its RAM must be shared (memory-backend-file or memfd with share=on), its control",
      "socket (QMP) free. First take it off whatever would start it again at its end.",
      "",
      "Example:",
      "  hyperfresh guest adopt web1 --pid 4711 --qmp /run/web1.qmp"
    })
final class AdoptCommand implements Runnable {
  @Mixin private Options options = new Options();

  @Parameters(paramLabel = "GUEST", description = "What it is to be called.")
  private String name = "";

  @Option(names = "--pid", required = true, paramLabel = "PID", description = "The QEMU's process.")
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
