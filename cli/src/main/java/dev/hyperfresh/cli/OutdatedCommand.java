package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.HostQemus;
import dev.hyperfresh.daemon.Policy;
import dev.hyperfresh.hypervisor.HyperFreshException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tools.jackson.databind.JsonNode;

/// `hyperfresh outdated`. Needs no daemon.
@Command(
    name = "outdated",
    description = {
      "Show every QEMU of this host, whoever started it, and whether another build than the one"
          + " that it runs is installed now. Changes nothing."
    },
    footer = {
      "",
      "Exit codes: 0 each runs the installed build, 8 some run another one,",
      "  3 none is known to, but some cannot be read.",
      "",
      "Examples:",
      "  hyperfresh outdated                        after an upgrade of QEMU",
      "  hyperfresh outdated --quiet || echo old    for scripts",
      "  hyperfresh outdated --json"
    })
final class OutdatedCommand implements Callable<Integer> {
  /// Beside the codes of problems: nothing went wrong.
  static final int SOME_OUTDATED = 8;

  static final int SOME_UNKNOWN = 3;

  /// A daemon only adds names, so one that is silent is not waited for.
  private static final Duration PATIENCE = Duration.ofSeconds(2);

  private static final int WIDTH = 80;
  private static final int NAME_WIDTH = 20;
  private static final int BUILD_WIDTH = 24;
  private static final String INDENT = " ".repeat(13);

  private final Path root;
  private final Duration patience;

  @Mixin private Options options = new Options();

  @Option(
      names = {"-q", "--quiet"},
      description = "Print nothing; the exit code tells.")
  private boolean quiet;

  @Option(
      names = "--brief",
      description =
          "Print one line if some are outdated, and nothing otherwise. The hook of apt does.")
  private boolean brief;

  OutdatedCommand() {
    this(Path.of("/"), PATIENCE);
  }

  /// @param root the folder that the host's files lie under
  /// @param patience with a daemon
  OutdatedCommand(Path root, Duration patience) {
    this.root = root;
    this.patience = patience;
  }

  @Override
  public Integer call() {
    Map<Integer, HostQemus.Owned> owned = owned();
    Map<String, Object> found = HostQemus.under(root, options.settings().config()).look(owned);
    JsonNode answer = Output.JSON.valueToTree(found);
    if (brief) {
      Notice.of(answer, owned.keySet(), policy()).ifPresent(System.out::println);
    } else if (!quiet && !options.printed(answer)) {
      show(answer);
    }
    if (answer.path("outdated").asInt() > 0) {
      return SOME_OUTDATED;
    }
    return answer.path("unknown").asInt() > 0 ? SOME_UNKNOWN : 0;
  }

  private static Optional<Policy> policy() {
    try {
      return Optional.of(Policy.ordinary());
    } catch (HyperFreshException invalid) {
      return Optional.empty();
    }
  }

  /// What a daemon says of its own, if one answers soon.
  private Map<Integer, HostQemus.Owned> owned() {
    FutureTask<Map<Integer, HostQemus.Owned>> asked = new FutureTask<>(this::ask);
    Thread.ofVirtual().name("hf-ask").start(asked);
    try {
      return asked.get(patience.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException silent) {
      return Map.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Map.of();
    } catch (ExecutionException e) {
      throw new IllegalStateException("the daemon's answer cannot be read", e.getCause());
    }
  }

  private Map<Integer, HostQemus.Owned> ask() {
    try {
      return OwnQemus.of(options.client());
    } catch (HyperFreshException absent) {
      // Without one, or without a role on it, the processes themselves say what they are.
      return Map.of();
    }
  }

  private static void show(JsonNode answer) {
    List<JsonNode> qemus = answer.path("qemus").valueStream().toList();
    if (qemus.isEmpty()) {
      System.out.println("No QEMU runs on this host.");
      return;
    }
    Output.table(
        List.of("GUEST", "PID", "MANAGER", "STATE", "RUNS"),
        qemus.stream().map(OutdatedCommand::row).toList());
    qemus.stream()
        .filter(qemu -> !text(qemu, "state").equals("current"))
        .forEach(OutdatedCommand::explain);
    System.out.println();
    System.out.println(summary(answer, qemus.size()));
  }

  private static List<String> row(JsonNode qemu) {
    return List.of(
        cut(name(qemu), NAME_WIDTH),
        qemu.path("pid").asString(),
        text(qemu, "manager"),
        text(qemu, "state"),
        cut(qemu.path("running").path("short").asString(), BUILD_WIDTH));
  }

  private static String name(JsonNode qemu) {
    String name = text(qemu, "name");
    String role = text(qemu, "role");
    if (name.isEmpty()) {
      return text(qemu, "number").isEmpty() ? "-" : text(qemu, "number");
    }
    return role.isEmpty() || role.equals("guest") ? name : role + " " + name;
  }

  private static String cut(String text, int width) {
    return text.length() <= width ? text : text.substring(0, width - 3) + "...";
  }

  private static void explain(JsonNode qemu) {
    System.out.println();
    System.out.println(
        cut(name(qemu), NAME_WIDTH)
            + " ("
            + qemu.path("pid").asString()
            + ") "
            + text(qemu, "state")
            + ":");
    fact("runs", label(qemu, "running") + since(text(qemu, "started_at")));
    fact("installed", installed(qemu));
    fact("program", text(qemu, "program") + " (" + text(qemu, "file") + ")");
    fact("replace", text(qemu, "verdict"));
  }

  private static String installed(JsonNode qemu) {
    return text(qemu, "state").equals("removed")
        ? "nothing at that path"
        : label(qemu, "installed") + since(text(qemu, "installed_at"));
  }

  private static String label(JsonNode qemu, String which) {
    return qemu.path(which).path("label").asString();
  }

  private static String since(String instant) {
    return instant.isEmpty() ? "" : ", since " + instant.replaceFirst("\\.[0-9]+Z$", "Z");
  }

  private static String text(JsonNode qemu, String field) {
    return qemu.path(field).asString("");
  }

  /// Prints a text in lines that fit a terminal; a word that is longer stands on a line of its own.
  private static void fact(String heading, String text) {
    List<String> lines = new ArrayList<>();
    StringBuilder line = new StringBuilder("  %-10s ".formatted(heading));
    boolean empty = true;
    for (String word : text.split(" ")) {
      if (!empty && line.length() + 1 + word.length() > WIDTH) {
        lines.add(line.toString());
        line = new StringBuilder(INDENT);
        empty = true;
      }
      line.append(empty ? "" : " ").append(word);
      empty = false;
    }
    lines.add(line.toString());
    lines.forEach(System.out::println);
  }

  private static String summary(JsonNode answer, int all) {
    int outdated = answer.path("outdated").asInt();
    int unknown = answer.path("unknown").asInt();
    String known =
        outdated == 0
            ? "%d of %d QEMUs run the installed build.".formatted(all - unknown, all)
            : "%d of %d QEMUs run another build than the installed one.".formatted(outdated, all);
    return unknown == 0 ? known : known + " %d cannot be read.".formatted(unknown);
  }
}
