package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh replace`.
@Command(
    name = "replace",
    description = "Replace the hypervisor under a running guest.",
    footer = {
      "",
      "Until the new hypervisor runs the guest, every failure leads back to the old one.",
      "",
      "Examples:",
      "  hyperfresh replace web1 --to qemu-10.0 --dry-run   what stands in the way, if anything",
      "  hyperfresh replace web1 --to qemu-10.0",
      "  hyperfresh replace web1 --to qemu-7.2              and back"
    })
final class ReplaceCommand implements Callable<Integer> {
  @Mixin private Options options = new Options();

  @Parameters(paramLabel = "GUEST")
  private String guest = "";

  @Option(names = "--to", required = true, paramLabel = "RELEASE", description = "The new release.")
  private String to = "";

  @Option(names = "--dry-run", description = "Only list what stands in the way; touch nothing.")
  private boolean dryRun;

  @Option(
      names = "--max-blackout",
      paramLabel = "MS",
      defaultValue = "1000",
      description =
          "Give the switch up after so many milliseconds, 1 to 60000 (default: ${DEFAULT-VALUE}).")
  private long maxBlackout;

  @Override
  public Integer call() {
    Client client = options.client();
    return dryRun ? plan(client) : replace(client);
  }

  private int plan(Client client) {
    JsonNode plan = client.post("/v1/guests/" + guest + "/plan", Map.of("to", to));
    boolean possible = plan.path("possible").asBoolean();
    if (options.json()) {
      Output.json(plan);
    } else if (possible) {
      System.out.println(
          guest + " can move to " + plan.path("to").asString() + ": no obstacle is known.");
    } else {
      System.out.println(guest + " cannot move to " + plan.path("to").asString() + ":");
      plan.path("obstacles")
          .forEach(o ->
              System.out.println(
                  "  " + o.path("what").asString() + " " + o.path("remedy").asString()));
    }
    return possible ? 0 : Problem.REPLACE_OBSTACLES.exitCode();
  }

  private int replace(Client client) {
    JsonNode record =
        client.work(
            "/v1/guests/" + guest + "/replacements",
            Map.of("to", to, "max_blackout_ms", maxBlackout),
            Output::progress);
    if (options.json()) {
      Output.json(record);
    } else {
      Output.replacement(record);
    }
    String problem = record.path("problem").asString("");
    return Arrays.stream(Problem.values())
        .filter(p -> p.code().equals(problem))
        .findFirst()
        .map(Problem::exitCode)
        .orElse(0);
  }
}
