package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest stop`.
@Command(
    name = "stop",
    description = "Stop guests; `guest start` starts them again.",
    footer = {
      "",
      "A guest is asked to power off, and ended when it has not done so in time. One of several that",
      "cannot be stopped does not keep the others from it. Guests with autostart start again after a",
      "boot of the host.",
      "",
      "Examples:",
      "  hyperfresh guest stop web1",
      "  hyperfresh guest stop web1 web2 --patience 120",
      "  hyperfresh guest stop --all"
    })
final class GuestStopCommand extends StopCommand {
  @Parameters(paramLabel = "GUEST", arity = "0..*", description = "The guests.")
  private List<String> names = List.of();

  @Option(
      names = "--patience",
      paramLabel = "SECONDS",
      defaultValue = "30",
      description =
          "How long the guests together may take to power themselves off; 0 ends them at once"
              + " (default: ${DEFAULT-VALUE}).")
  private int patience;

  @Override
  String kind() {
    return "guests";
  }

  @Override
  Problem unknown() {
    return Problem.GUEST_UNKNOWN;
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
    return Map.of("patience_s", seconds);
  }

  /// One that waits to be started again is told, too.
  @Override
  boolean runs(JsonNode listed) {
    return !listed.path("state").asString("").equals("stopped")
        || listed.path("to_start").asBoolean(false);
  }

  @Override
  JsonNode stopped(String name, JsonNode answer) {
    return answer;
  }

  @Override
  String sentence(String name) {
    return name + " is stopped.";
  }

  @Override
  void print(Options options, String name, JsonNode answer) {
    GuestCommand.print(options, answer);
  }
}
