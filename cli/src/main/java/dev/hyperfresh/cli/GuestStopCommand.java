package dev.hyperfresh.cli;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
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
      "A guest is asked to power off, and ended when it has not done so in time. One of several that",
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
          "How long the guests together may take to power themselves off; 0 ends them at once"
              + " (default: ${DEFAULT-VALUE}).")
  private int patience;

  private final long begun = System.nanoTime();

  @Override
  public Integer call() {
    if (all != names.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(),
          all ? "Name guests or use --all, not both." : "Name guests or use --all.");
    }
    if (patience < 0) {
      throw new ParameterException(spec.commandLine(), "--patience takes 0 seconds or more.");
    }
    if (names.size() == 1) {
      GuestCommand.print(options, stop(names.getFirst(), patience, Output::progress));
      return 0;
    }
    List<Stopped> results = all ? stopRunning() : stopAll(names.stream().distinct().toList());
    var _ =
        Options.format(spec)
            .print(
                Map.of(
                    "guests",
                    results.stream().flatMap(result -> result.guest().stream()).toList()));
    return results.stream()
        .flatMap(result -> result.failure().stream())
        .findFirst()
        .map(failure -> failure.problem().exitCode())
        .orElse(0);
  }

  private JsonNode stop(String name, long seconds, Progress progress) {
    return options
        .client()
        .work("/v1/guests/" + name + "/stop", Map.of("patience_s", seconds), progress);
  }

  /// A guest may be started meanwhile, as after a boot of the host, so that it looks again.
  private List<Stopped> stopRunning() {
    List<Stopped> results = new ArrayList<>();
    Set<String> asked = new HashSet<>();
    while (true) {
      List<String> more = running().stream().filter(asked::add).toList();
      if (more.isEmpty()) {
        return results;
      }
      results.addAll(stopAll(more));
    }
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

  /// How long a guest may take whose turn has come, of what all of them may take together.
  private long left() {
    return Math.max(0, patience - Duration.ofNanos(System.nanoTime() - begun).toSeconds());
  }

  /// How it went with one guest.
  ///
  /// @param guest as the daemon shows it then; nothing when it was not stopped
  private record Stopped(Optional<JsonNode> guest, Optional<HyperFreshException> failure) {}

  private List<Stopped> stopAll(List<String> guests) {
    List<Callable<Stopped>> stops =
        guests.stream().map(name -> (Callable<Stopped>) () -> stopped(name)).toList();
    List<Stopped> results = new ArrayList<>();
    try (ExecutorService threads =
        Executors.newFixedThreadPool(AT_ONCE, Thread.ofVirtual().factory())) {
      threads.invokeAll(stops).forEach(stop -> results.add(stop.resultNow()));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw Problem.INTERNAL.because("It was interrupted.", e);
    }
    return results;
  }

  private Stopped stopped(String name) {
    try {
      JsonNode guest = stop(name, left(), Progress.NONE);
      if (Options.format(spec) == Format.table) {
        System.out.println(name + " is stopped.");
      }
      return new Stopped(Optional.of(guest), Optional.empty());
    } catch (RuntimeException failed) {
      // Such as an answer that breaks off.
      HyperFreshException e =
          failed instanceof HyperFreshException known ? known : Problem.unexpected(failed);
      if (all && e.problem() == Problem.GUEST_UNKNOWN) {
        return new Stopped(Optional.empty(), Optional.empty());
      }
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
