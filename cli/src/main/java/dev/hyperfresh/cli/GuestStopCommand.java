package dev.hyperfresh.cli;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// `hyperfresh guest stop`.
@Command(
    name = "stop",
    description = "Stop guests; `guest start` starts them again.",
    footer = {
      "",
      "A guest is asked to power off, and ended when it has not done so in time. With --all one that",
      "cannot be stopped does not keep the others from it. Guests with autostart start again after a",
      "boot of the host.",
      "",
      "Examples:",
      "  hyperfresh guest stop web1",
      "  hyperfresh guest stop web1 web2 --patience 120",
      "  hyperfresh guest stop --all"
    })
final class GuestStopCommand implements Callable<Integer> {
  /// So many guests power off at a time.
  private static final int AT_ONCE = 64;

  @Mixin private Options options = new Options();

  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(paramLabel = "GUEST", arity = "0..*", description = "The guests.")
  private List<String> names = List.of();

  @Option(names = "--all", description = "Every guest that has not stopped.")
  private boolean all;

  @Option(
      names = "--patience",
      paramLabel = "SECONDS",
      defaultValue = "30",
      description =
          "How long the guest may take to power itself off; 0 ends it at once (default: ${DEFAULT-VALUE}).")
  private int patience;

  @Override
  public Integer call() {
    if (all != names.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(),
          all ? "Name guests or use --all, not both." : "Name guests or use --all.");
    }
    if (names.size() == 1) {
      GuestCommand.print(options, stop(names.getFirst(), Output::progress));
      return 0;
    }
    return stopAll(all ? running() : names);
  }

  private JsonNode stop(String name, Progress progress) {
    return options
        .client()
        .work("/v1/guests/" + name + "/stop", Map.of("patience_s", patience), progress);
  }

  private List<String> running() {
    return options
        .client()
        .get("/v1/guests")
        .path("guests")
        .valueStream()
        .filter(guest -> !guest.path("state").asString("").equals("stopped"))
        .map(guest -> guest.path("name").asString())
        .toList();
  }

  /// How it went with one guest.
  ///
  /// @param guest as the daemon shows it then; nothing when it was not stopped
  private record Stopped(Optional<JsonNode> guest, Optional<HyperFreshException> failure) {}

  /// @return the exit code of the first failure, if there was one
  private int stopAll(List<String> guests) {
    Format format = Options.format(spec);
    List<Callable<Stopped>> stops =
        guests.stream().map(name -> (Callable<Stopped>) () -> stopped(name, format)).toList();
    List<Stopped> results = new ArrayList<>();
    try (ExecutorService threads =
        Executors.newFixedThreadPool(AT_ONCE, Thread.ofVirtual().factory())) {
      threads.invokeAll(stops).forEach(stop -> results.add(stop.resultNow()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    var _ =
        format.print(
            Map.of("guests", results.stream().flatMap(result -> result.guest().stream()).toList()));
    return results.stream()
        .flatMap(result -> result.failure().stream())
        .findFirst()
        .map(failure -> failure.problem().exitCode())
        .orElse(0);
  }

  private Stopped stopped(String name, Format format) {
    try {
      JsonNode guest = stop(name, Progress.NONE);
      if (format == Format.table) {
        System.out.println(name + " is stopped.");
      }
      return new Stopped(Optional.of(guest), Optional.empty());
    } catch (HyperFreshException e) {
      System.err.println(
          "hyperfresh: "
              + name
              + ": "
              + e.problem().code()
              + " "
              + e.problem().summary()
              + " "
              + e.detail());
      return new Stopped(Optional.empty(), Optional.of(e));
    }
  }
}
