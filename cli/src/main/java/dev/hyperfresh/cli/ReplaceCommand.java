package dev.hyperfresh.cli;

import dev.hyperfresh.hypervisor.Problem;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh replace`.
@Command(
    name = "replace",
    description = "Replace the hypervisor under running guests.",
    footer = {
      "",
      "Until the target runs the guest, every failure is rolled back to the source.",
      "",
      "With several guests, the first failure stops the rollout: no other guest is started, and",
      "guests in flight finish. The same command again moves what is left. A guest that cannot",
      "move is left alone and listed with the reason; this is a failure only if the guest was",
      "named. If this command is interrupted, the daemon starts no other guest and finishes those",
      "in flight. Exit code 5: a guest failed or was rolled back.",
      "",
      "Examples:",
      "  hyperfresh replace web1 --to qemu-10.0 --dry-run    check and rehearse it",
      "  hyperfresh replace web1 --to qemu-10.0",
      "  hyperfresh replace web1 --to qemu-7.2               and back",
      "  hyperfresh replace web1 web2 --to qemu-10.0",
      "  hyperfresh replace --all --from qemu-7.2 --to qemu-10.0 --dry-run",
      "  hyperfresh replace --all --to qemu-10.0 --canary 1 --soak 30s --parallel 4",
      "  hyperfresh replace web1 --to m2                     to machine m2",
      "  hyperfresh replace --machine m1 --to machine-6.12+qemu-10.0",
      "  hyperfresh replace --libvirt db1 --to installed --dry-run",
      "  hyperfresh replace --libvirt db1 db2 --to installed",
      "",
      "With --machine, a machine of the release is booted, or the machine that --to names is used.",
      "All guests of the old machine move to it, and the old machine is ended when it is empty.",
      "",
      "With --libvirt, the guests are running domains of libvirt. libvirt is ended, takes them back",
      "with their new QEMU when it is started again, and does not answer meanwhile; all guests run",
      "on. With --canary, it is ended twice: for the others when it has the first guests again.",
      "docs/LIBVIRT.md says what can go wrong. The daemon must be root."
    })
final class ReplaceCommand implements Callable<Integer> {
  private static final String DEFAULT_SOAK = "30s";
  private static final String THERE = "there";

  @Mixin private Options options = new Options();

  @CommandLine.Spec
  private CommandLine.Model.CommandSpec spec = CommandLine.Model.CommandSpec.create();

  @Parameters(paramLabel = "GUEST", arity = "0..*", description = "The guests.")
  private List<String> guests = List.of();

  @Option(names = "--all", description = "Every guest.")
  private boolean all;

  @Option(
      names = "--libvirt",
      description = "The guests are running domains of libvirt, which keeps them.")
  private boolean libvirt;

  @Option(
      names = "--machine",
      paramLabel = "MACHINE",
      description = "Every guest of this machine, and the machine itself.")
  private String machine = "";

  @Option(
      names = "--to",
      required = true,
      paramLabel = "RELEASE",
      description = "The new release, or the machine that the guests are to run in.")
  private String to = "";

  @Option(
      names = "--from",
      paramLabel = "RELEASE",
      description = "Only guests that run on this release, or on any build of a series.")
  private String from = "";

  @Option(
      names = "--parallel",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "How many guests are prepared at a time, 1 to 64 (default: ${DEFAULT-VALUE}). They switch"
              + " one after the other.")
  private int parallel;

  @Option(
      names = "--canary",
      paramLabel = "N",
      defaultValue = "0",
      description = "How many guests move first and are watched before the rest.")
  private int canary;

  @Option(
      names = "--soak",
      paramLabel = "TIME",
      defaultValue = "",
      description =
          "How long the first ones are watched, such as 500ms, 30s, 10m or 2h (default: 30s). They"
              + " must stay on the new release, and their heartbeats must continue.")
  private String soak = "";

  @Option(
      names = "--dry-run",
      description = "Only check everything and rehearse; do not touch the guest.")
  private boolean dryRun;

  @Option(
      names = "--no-rehearsal",
      description = "Do not rehearse the move on a twin first; saves half a second and 512 MiB.")
  private boolean noRehearsal;

  @Option(
      names = "--step-clock",
      description =
          "Let the guest's agent set the guest's wall clock to the host's afterwards. A spec with"
              + " clock: step always does this.")
  private boolean stepClock;

  @Option(
      names = "--max-blackout",
      paramLabel = "MS",
      defaultValue = "1000",
      description =
          "Roll back if the switch takes longer, in milliseconds, 1 to 60000 (default:"
              + " ${DEFAULT-VALUE}).")
  private long maxBlackout;

  @Option(
      names = "--force",
      description = "Replace also where the guest runs on the release already; for one guest.")
  private boolean force;

  @Override
  public Integer call() {
    check();
    Client client = options.client();
    if (!machine.isEmpty()) {
      return replaceMachine(client);
    }
    if (libvirt) {
      return replaceDomains(client);
    }
    if (isSingle()) {
      return dryRun ? plan(client) : replace(client);
    }
    return rollOut(client);
  }

  private boolean isSingle() {
    return guests.size() == 1 && from.isEmpty() && canary == 0;
  }

  private void check() {
    if (!machine.isEmpty() && (all || !guests.isEmpty() || !from.isEmpty() || dryRun)) {
      throw new ParameterException(
          spec.commandLine(), "--machine excludes guests, --all, --from and --dry-run.");
    }
    if (machine.isEmpty() && all != guests.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(),
          all ? "Name guests or use --all, not both." : "Name guests or use --all.");
    }
    if (libvirt && (!machine.isEmpty() || !from.isEmpty() || !soak.isEmpty() || parallel != 1)) {
      throw new ParameterException(
          spec.commandLine(), "--libvirt excludes --machine, --from, --soak and --parallel.");
    }
    if (libvirt && (force || stepClock)) {
      throw new ParameterException(
          spec.commandLine(), "--libvirt excludes --force and --step-clock.");
    }
    if (force && (dryRun || !machine.isEmpty() || !isSingle())) {
      throw new ParameterException(
          spec.commandLine(), "--force is for the replacement of one guest that is named.");
    }
    if (!soak.isEmpty() && canary == 0) {
      throw new ParameterException(spec.commandLine(), "--soak needs --canary.");
    }
  }

  private Duration soakTime() {
    return Period.parse(soak.isEmpty() ? DEFAULT_SOAK : soak, spec);
  }

  private int plan(Client client) {
    JsonNode plan =
        client.plan(
            "/v1/guests/" + guests.getFirst() + "/plan",
            Map.of("to", to, "rehearse", !noRehearsal, "step_clock", stepClock),
            Output::progress);
    boolean possible = plan.path("possible").asBoolean();
    if (!options.printed(plan)) {
      Output.plan(plan);
    }
    return possible ? 0 : Problem.REPLACE_OBSTACLES.exitCode();
  }

  private int replace(Client client) {
    JsonNode record =
        client.work(
            "/v1/guests/" + guests.getFirst() + "/replacements",
            Map.of(
                "to",
                to,
                "max_blackout_ms",
                maxBlackout,
                "rehearse",
                !noRehearsal,
                "step_clock",
                stepClock,
                "force",
                force),
            Output::progress);
    String outcome = record.path("outcome").asString("");
    if (!options.printed(record)) {
      show(record, outcome);
    }
    return outcome.equals("committed") || outcome.equals(THERE)
        ? 0
        : exitCode(record.path("problem").asString(""));
  }

  private void show(JsonNode record, String outcome) {
    if (outcome.equals(THERE)) {
      System.out.printf(
          "%s runs on %s already; nothing was done. --force replaces it anyway.%n",
          record.path("guest").asString(), record.path("to").asString());
      return;
    }
    Output.replacement(record);
    double gap = record.path("guest_gap_ms").asDouble(0);
    if (gap > maxBlackout) {
      System.err.printf(
          Locale.ROOT,
          "hyperfresh: the guest stood for %.0f ms, longer than the %d ms of --max-blackout.%n"
              + "  Only the switch itself can be rolled back; this was seen after it.%n",
          gap,
          maxBlackout);
    }
  }

  /// A code that is not in the catalogue is a failure too: that of a newer daemon.
  private static int exitCode(String problem) {
    return Arrays.stream(Problem.values())
        .filter(p -> p.code().equals(problem))
        .findFirst()
        .orElse(Problem.INTERNAL)
        .exitCode();
  }

  private int replaceMachine(Client client) {
    JsonNode result =
        client.work("/v1/machines/" + machine + "/replacements", order(), Output::progress);
    if (!options.printed(result)) {
      print(result);
      System.out.println(machines(result));
    }
    return result.path("old_retired").asBoolean() && isComplete(result)
        ? 0
        : Problem.REPLACE_OBSTACLES.exitCode();
  }

  private String machines(JsonNode result) {
    if (result.path("old_retired").asBoolean()) {
      return "Machine "
          + machine
          + " is ended; "
          + (isComplete(result) ? "its guests run in " : "NOT ALL of its guests run in ")
          + to(result)
          + ".";
    }
    return "Machine "
        + machine
        + " stays with the guests that did not move; "
        + to(result)
        + (result.path("machine_withdrawn").asBoolean()
            ? " got none and is ended."
            : " stays with those that did.");
  }

  private int replaceDomains(Client client) {
    JsonNode result =
        client.work(
            "/v1/libvirt/replacements",
            Map.of(
                "to",
                to,
                "all",
                all,
                "domains",
                guests,
                "canary",
                canary,
                "dry_run",
                dryRun,
                "rehearse",
                !noRehearsal,
                "max_blackout_ms",
                maxBlackout),
            Output::progress);
    if (!options.printed(result)) {
      print(result);
      System.out.println(libvirt(result));
    }
    return isComplete(result) ? 0 : Problem.REPLACE_OBSTACLES.exitCode();
  }

  private static String libvirt(JsonNode result) {
    String service = result.path("service").asString("");
    if (service.isEmpty()) {
      return "Nothing was to be done; libvirt was left alone.";
    }
    if (result.path("dry_run").asBoolean()) {
      return "Nothing was done. libvirt (%s) would be ended and started again.".formatted(service);
    }
    return result.has("away_ms")
        ? String.format(
            Locale.ROOT,
            "libvirt (%s) did not answer for %.1f s.",
            service,
            result.path("away_ms").asDouble() / 1000)
        : "libvirt (%s) is DOWN.".formatted(service);
  }

  private static String to(JsonNode result) {
    return result.path("machine").asString();
  }

  private int rollOut(Client client) {
    Map<String, Object> order = order();
    JsonNode result =
        dryRun
            ? client.post("/v1/rollouts/plan", order)
            : client.work("/v1/rollouts", order, Output::progress);
    if (!options.printed(result)) {
      print(result);
    }
    return isComplete(result) ? 0 : Problem.REPLACE_OBSTACLES.exitCode();
  }

  private static boolean isComplete(JsonNode result) {
    return result.path("misses").isEmpty() && result.path("stopped").asString("").isEmpty();
  }

  private Map<String, Object> order() {
    Map<String, Object> order = new LinkedHashMap<>();
    order.put("to", to);
    order.put("from", from);
    order.put("all", all);
    order.put("guests", guests);
    order.put("parallel", parallel);
    order.put("canary", canary);
    order.put("soak_ms", canary == 0 ? 0 : soakTime().toMillis());
    order.put("max_blackout_ms", maxBlackout);
    order.put("rehearse", !noRehearsal);
    order.put("step_clock", stepClock);
    return order;
  }

  private static void print(JsonNode result) {
    Output.table(
        List.of("GUEST", "FROM", "TO", "OUTCOME", "STOOD", "DETAIL"),
        result
            .path("guests")
            .valueStream()
            .map(entry -> row(entry, result.path("to").asString()))
            .toList());
    String stopped = result.path("stopped").asString("");
    if (!stopped.isEmpty()) {
      System.out.println("The rollout stopped. " + stopped);
    }
    JsonNode misses = result.path("misses");
    if (!misses.isEmpty()) {
      System.out.println(
          "Not moved as asked: "
              + String.join(", ", misses.valueStream().map(JsonNode::asString).toList()));
    }
  }

  private static List<String> row(JsonNode entry, String to) {
    OptionalDouble stood = Output.stoodMillis(entry.path("replacement"));
    String problem = entry.path("problem").asString("");
    return List.of(
        entry.path("guest").asString(),
        entry.path("from").asString(),
        to,
        entry.path("outcome").asString(),
        stood.isPresent() ? String.format(Locale.ROOT, "%.2f ms", stood.getAsDouble()) : "-",
        (problem + " " + entry.path("detail").asString("")).strip());
  }
}
