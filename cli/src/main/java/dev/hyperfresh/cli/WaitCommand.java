package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tools.jackson.databind.JsonNode;

/// `hyperfresh wait`.
@Command(
    name = "wait",
    description = "Wait until a guest, container, machine or OS is as it is wanted.",
    footer = {
      "",
      "The condition is a field that `show --json` prints and its value, or `deleted`. It is looked",
      "at when the command starts and whenever something happens. If time runs out, the exit code",
      "is 3.",
      "",
      "Examples:",
      "  hyperfresh wait guest/web1 --for state=running --timeout 30s",
      "  hyperfresh wait guest/web1 --for=release=qemu-10.0.2",
      "  hyperfresh wait container/db1 --for health=healthy",
      "  hyperfresh wait machine/m1 --for deleted"
    })
final class WaitCommand implements Runnable {
  private static final String DELETED = "deleted";
  private static final int NOT_FOUND = 404;

  /// Where the API has the things of each kind.
  private static final Map<String, String> ROUTES =
      Map.of("guest", "guests", "container", "containers", "machine", "machines", "os", "os");

  @Mixin private Options options = new Options();

  @Spec private CommandSpec spec = CommandSpec.create();

  @Parameters(
      paramLabel = "KIND/NAME",
      description = "What to wait for: guest/, container/, machine/ or os/ and a name.")
  private String what = "";

  @Option(
      names = "--for",
      required = true,
      paramLabel = "CONDITION",
      description = "FIELD=VALUE, or deleted.")
  private String condition = "";

  @Option(
      names = "--timeout",
      paramLabel = "TIME",
      defaultValue = "30s",
      description = "How long, such as 500ms, 30s, 10m or 2h (default: ${DEFAULT-VALUE}).")
  private String timeout = "";

  /// What is waited for.
  ///
  /// @param kind with which its events begin
  /// @param field that is to have the value, or [#DELETED]
  private record Wish(String kind, String name, String field, String value) {
    boolean concerns(JsonNode event) {
      String type = event.path("type").asString();
      return type.equals("missed")
          || (type.startsWith(kind + ".") && event.path("subject").asString().equals(name));
    }

    /// The answer to whoever waits, when it has come true.
    ///
    /// @throws HyperFreshException when there is no such thing and it is not to be gone
    Optional<JsonNode> look(Client client) {
      try {
        JsonNode thing = client.get("/v1/" + ROUTES.get(kind) + "/" + name);
        return thing.path(field).asString("").equals(value) && thing.has(field)
            ? Optional.of(thing)
            : Optional.empty();
      } catch (HyperFreshException e) {
        if (!field.equals(DELETED) || e.problem().httpStatus() != NOT_FOUND) {
          throw e;
        }
        return Optional.of(Output.JSON.createObjectNode().put(DELETED, name));
      }
    }

    String words() {
      return field.equals(DELETED) ? "is " + DELETED : "has " + field + "=" + value;
    }
  }

  @Override
  public void run() {
    Wish wish = wish();
    Duration patience = Period.parse(timeout, spec);
    CompletableFuture<JsonNode> seen = new CompletableFuture<>();
    Thread.ofPlatform().name("hf-wait").daemon().start(() -> look(wish, seen));
    JsonNode answer = await(wish, seen, patience);
    if (!options.printed(answer)) {
      System.out.println(what + " " + wish.words() + ".");
    }
  }

  private Wish wish() {
    String[] thing = what.split("/", 2);
    if (thing.length < 2 || thing[1].isEmpty() || !ROUTES.containsKey(thing[0])) {
      throw new ParameterException(
          spec.commandLine(),
          "'" + what + "' is not guest/NAME, container/NAME, machine/NAME or os/NAME.");
    }
    String[] wanted = condition.split("=", 2);
    if (wanted[0].isEmpty() || (wanted.length < 2 && !condition.equals(DELETED))) {
      throw new ParameterException(
          spec.commandLine(), "'" + condition + "' is neither FIELD=VALUE nor " + DELETED + ".");
    }
    return new Wish(thing[0], thing[1], wanted[0], wanted.length < 2 ? "" : wanted[1]);
  }

  private void look(Wish wish, CompletableFuture<JsonNode> seen) {
    try {
      Client client = options.client();
      new EventFeed(
              options::client,
              "",
              event -> {
                if (event.map(wish::concerns).orElse(true)) {
                  wish.look(client).ifPresent(seen::complete);
                }
                return !seen.isDone();
              })
          .follow();
    } catch (RuntimeException | Error e) {
      seen.completeExceptionally(e);
    }
  }

  private JsonNode await(Wish wish, CompletableFuture<JsonNode> seen, Duration patience) {
    try {
      return seen.get(patience.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      throw tooLate(wish);
    } catch (ExecutionException e) {
      throw e.getCause() instanceof HyperFreshException known
          ? known
          : Problem.unexpected(e.getCause());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw tooLate(wish);
    }
  }

  private HyperFreshException tooLate(Wish wish) {
    return Problem.WAIT_TIMEOUT.because(
        "It was not seen within " + timeout + " that " + what + " " + wish.words() + ".");
  }
}
