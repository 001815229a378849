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
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// Stops one thing, several, or all of a kind that run. One of several that cannot be stopped does
/// not keep the others from it.
abstract class StopCommand implements Callable<Integer> {
  /// So many are asked at a time.
  private static final int AT_ONCE = 64;

  @Mixin private Options options = new Options();

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(names = "--all", description = "All that have not stopped.")
  private boolean all;

  private final long begun = System.nanoTime();

  /// What is stopped, such as `guests`: as in the API's paths and answers.
  abstract String kind();

  /// What is known of one that the daemon does not know.
  abstract Problem unknown();

  /// Those that were named.
  abstract List<String> names();

  /// How long they together may take to end by themselves, seconds.
  abstract int patience();

  /// What the daemon is told with an order to stop.
  ///
  /// @param seconds how long this one may take
  abstract Map<String, Object> order(long seconds);

  /// Whether one that is listed is to be stopped.
  abstract boolean runs(JsonNode listed);

  /// What is known of one that was stopped.
  ///
  /// @param answer to the order
  abstract JsonNode stopped(String name, JsonNode answer);

  /// Tells a person of one that was stopped.
  abstract String sentence(String name);

  /// What came of one that was named alone.
  abstract void print(Options options, String name, JsonNode answer);

  Client client() {
    return options.client();
  }

  @Override
  public Integer call() {
    if (all != names().isEmpty()) {
      throw new ParameterException(
          spec.commandLine(),
          all
              ? "Name " + kind() + " or use --all, not both."
              : "Name " + kind() + " or use --all.");
    }
    if (patience() < 0) {
      throw new ParameterException(spec.commandLine(), "--patience takes 0 seconds or more.");
    }
    if (names().size() == 1) {
      String name = names().getFirst();
      print(options, name, stop(name, patience(), Output::progress));
      return 0;
    }
    List<Stopped> results = all ? stopRunning() : stopAll(names().stream().distinct().toList());
    List<JsonNode> stopped = results.stream().flatMap(result -> result.node().stream()).toList();
    var _ = Options.format(spec).print(Map.of(kind(), stopped));
    return results.stream()
        .flatMap(result -> result.failure().stream())
        .findFirst()
        .map(failure -> failure.problem().exitCode())
        .orElse(0);
  }

  private JsonNode stop(String name, long seconds, Progress progress) {
    return client().work("/v1/" + kind() + "/" + name + "/stop", order(seconds), progress);
  }

  /// One may be started meanwhile, as after a boot of the host, so that it looks again.
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
    return client()
        .get("/v1/" + kind())
        .path(kind())
        .valueStream()
        .filter(this::runs)
        .map(listed -> listed.path("name").asString())
        .toList();
  }

  /// How long one may take whose turn has come, of what all of them may take together.
  private long left() {
    return Math.max(0, patience() - Duration.ofNanos(System.nanoTime() - begun).toSeconds());
  }

  /// How it went with one.
  ///
  /// @param node as it is then; nothing when it was not stopped
  private record Stopped(Optional<JsonNode> node, Optional<HyperFreshException> failure) {}

  private List<Stopped> stopAll(List<String> wanted) {
    List<Callable<Stopped>> stops =
        wanted.stream().map(name -> (Callable<Stopped>) () -> stopped(name)).toList();
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
      JsonNode node = stopped(name, stop(name, left(), Progress.NONE));
      if (Options.format(spec) == Format.table) {
        System.out.println(sentence(name));
      }
      return new Stopped(Optional.of(node), Optional.empty());
    } catch (RuntimeException failed) {
      // Such as an answer that breaks off.
      HyperFreshException e =
          failed instanceof HyperFreshException known ? known : Problem.unexpected(failed);
      if (all && e.problem() == unknown()) {
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
