package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh container relocate`.
@Command(
    name = "relocate",
    description = "Move a container to another OS while it runs.",
    footer = {
      "",
      "Until it runs in the other OS, every failure is rolled back, and it stays where it is. If",
      "it has a health check, the check must pass before the move; if the check fails in the new",
      "OS, the container is moved back.",
      "",
      "Examples:",
      "  hyperfresh container relocate web1 --to os2",
      "  hyperfresh container relocate web1 --to os2 --no-health"
    })
final class ContainerRelocateCommand implements Callable<Integer> {
  @Mixin private Options options = new Options();

  @Parameters(paramLabel = "NAME")
  private String name = "";

  @Option(names = "--to", required = true, paramLabel = "OS", description = "The other OS.")
  private String to = "";

  @Option(
      names = "--copy",
      description = "Copy its memory while it is paused: the ordinary way, slow, for comparison.")
  private boolean copy;

  @Option(names = "--no-health", description = "Move it without running its health check.")
  private boolean noHealth;

  @Override
  public Integer call() {
    JsonNode move =
        options
            .client()
            .work(
                "/v1/containers/" + name + "/relocations",
                Map.of("to", to, "copy", copy, "health", !noHealth),
                Output::progress);
    if (!options.printed(move)) {
      print(move);
    }
    return move.path("outcome").asString().equals("committed")
        ? 0
        : Problem.RELOCATE_ROLLED_BACK.exitCode();
  }

  /// Prints a move for a person.
  static void print(JsonNode move) {
    System.out.printf(
        "%s: %s (Linux %s) → %s (Linux %s), %s%n",
        move.path("container").asString(),
        move.path("from").asString(),
        move.path("kernel_from").asString(),
        move.path("to").asString(),
        move.path("kernel_to").asString(),
        move.path("outcome").asString());
    if (!move.path("outcome").asString().equals("committed")) {
      Problem problem = Problem.RELOCATE_ROLLED_BACK;
      System.out.println("  " + problem.code() + " " + move.path("detail").asString());
      System.out.println("  " + problem.advice());
      return;
    }
    JsonNode phases = move.path("phases_ms");
    System.out.printf(
        Locale.ROOT,
        "  paused       %8.0f ms   including %.0f ms to freeze, %.0f ms to restore%n",
        move.path("frozen_ms").asDouble(),
        phases.path("freeze").asDouble(),
        phases.path("restore").asDouble());
    System.out.printf(
        Locale.ROOT,
        "  copied       %8d bytes  while it was paused; %d MiB of memory followed at %.0f MiB/s%n",
        move.path("frozen_bytes").asLong(),
        move.path("memory_mib").asLong(),
        move.path("drain_mib_s").asDouble());
    System.out.printf(
        Locale.ROOT,
        "  waited for   %8d pages  that it touched before they had come, at most %.1f ms each%n",
        move.path("faults").asLong(),
        move.path("longest_fault_us").asDouble() / 1000);
  }
}
