package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh container stop`.
@Command(
    name = "stop",
    description = "End containers; their files stay.",
    footer = {
      "",
      "Its --restart policy does not start a container again that was stopped. One that has ended",
      "stays as it is. One of several that cannot be stopped does not keep the others from it.",
      "",
      "Examples:",
      "  hyperfresh container stop web1 --patience 30",
      "  hyperfresh container stop web1 web2",
      "  hyperfresh container stop --all --until-boot"
    })
final class ContainerStopCommand extends StopCommand {
  @Parameters(paramLabel = "NAME", arity = "0..*", description = "The containers.")
  private List<String> names = List.of();

  @Option(
      names = "--patience",
      paramLabel = "SECONDS",
      defaultValue = "10",
      description =
          "How long the containers together may take to end by themselves (default:"
              + " ${DEFAULT-VALUE}).")
  private int patience;

  @Option(
      names = "--until-boot",
      description =
          "They stop because the host does: after its next boot their --restart policies start them"
              + " again.")
  private boolean untilBoot;

  @Override
  String kind() {
    return "containers";
  }

  @Override
  Problem unknown() {
    return Problem.CONTAINER_UNKNOWN;
  }

  @Override
  List<String> names() {
    return names;
  }

  @Override
  int patience() {
    return patience;
  }

  @Override
  Map<String, Object> order(long seconds) {
    return Map.of("patience_s", seconds, "until_boot", untilBoot);
  }

  /// One that waits to be started again is told, too.
  @Override
  boolean runs(JsonNode listed) {
    return !List.of("ended", "lost").contains(listed.path("state").asString(""))
        || listed.has("next_start");
  }

  @Override
  JsonNode stopped(String name, JsonNode answer) {
    return client().get("/v1/containers/" + name);
  }

  @Override
  String sentence(String name) {
    return name + " is stopped; its files stay.";
  }

  @Override
  void print(Options options, String name, JsonNode answer) {
    if (!options.printed(answer)) {
      System.out.println(sentence(name));
    }
  }
}
