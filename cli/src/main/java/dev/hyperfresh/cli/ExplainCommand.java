package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Explanations;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh explain`. Needs no daemon.
@Command(
    name = "explain",
    description = {
      "Say of each piece of a QEMU's command line whether it moves when the guest is adopted and"
          + " replaced, and if not, why and what to do. Asks no running QEMU and changes nothing."
    },
    footer = {
      "",
      "Exit codes: 0 it moves, perhaps with remarks, 5 a piece cannot move,",
      "  3 no piece cannot move, but of some only the running QEMU can tell.",
      "",
      "Examples:",
      "  hyperfresh explain 4711                      a QEMU that runs here",
      "  hyperfresh explain web1.args --to qemu-10.0  one argument a line",
      "  hyperfresh explain 4711 --to installed --json"
    })
final class ExplainCommand implements Callable<Integer> {
  /// Beside the codes of problems: nothing went wrong.
  static final int CANNOT = 5;

  static final int UNKNOWN = 3;

  private static final String MOVES = "moves";
  private static final String PROCESS = "[0-9]{1,9}";

  private final Path root;

  @Mixin private Options options = new Options();

  @Parameters(
      paramLabel = "PID|FILE",
      description =
          "A process of this host, or a file with a command line, one argument a line, with or"
              + " without the program's name in its first line.")
  private String subject = "";

  @Option(
      names = "--to",
      paramLabel = "RELEASE",
      description =
          "An installed release, `latest` or `installed`: its program is asked whether it knows the"
              + " machine type and the devices. Without it they are taken as known.")
  private @Nullable String to;

  @Option(names = "--all", description = "Also list the pieces that simply move.")
  private boolean all;

  ExplainCommand() {
    this(Path.of("/"));
  }

  /// @param root the folder that the host's files lie under
  ExplainCommand(Path root) {
    this.root = root;
  }

  @Override
  public Integer call() {
    Explanations explanations = Explanations.under(root, options.settings().config());
    Optional<String> target = Optional.ofNullable(to);
    Map<String, Object> found =
        subject.matches(PROCESS)
            ? explanations.ofProcess(Integer.parseInt(subject), target)
            : explanations.ofFile(file(), target);
    JsonNode answer = Output.JSON.valueToTree(found);
    if (!options.printed(answer)) {
      show(answer);
    }
    return switch (answer.path("verdict").asString()) {
      case "cannot" -> CANNOT;
      case "unknown" -> UNKNOWN;
      default -> 0;
    };
  }

  private Path file() {
    try {
      return Path.of(subject);
    } catch (InvalidPathException e) {
      throw Problem.EXPLAIN_INPUT.because("That is not the name of a file.", e);
    }
  }

  private void show(JsonNode answer) {
    List<JsonNode> pieces = answer.path("pieces").valueStream().toList();
    pieces.stream().filter(piece -> all || !is(piece, MOVES)).forEach(ExplainCommand::line);
    System.out.println(sentence(answer, pieces));
    if (answer.path("copy_needed").asBoolean()) {
      System.out.println(
          "Its memory cannot be taken over where it is; `guest adopt --copy` copies it once.");
    }
    if (to == null) {
      System.out.println(
          "Its machine type and devices are taken as known; --to RELEASE looks whether they are.");
    }
  }

  private static void line(JsonNode piece) {
    String reason = piece.path("reason").asString();
    String action = piece.path("action").asString();
    System.out.printf(
        "%-8s %s%s%s%n",
        piece.path("verdict").asString(),
        piece.path("what").asString(),
        reason.isEmpty() ? "" : ": " + reason,
        action.isEmpty() ? "" : "; " + action);
  }

  private static String sentence(JsonNode answer, List<JsonNode> pieces) {
    String more = "; %d of %d simply move.".formatted(count(pieces, MOVES), pieces.size());
    return switch (answer.path("verdict").asString()) {
      case "cannot" ->
          "It cannot be adopted as it is, for %d of its pieces".formatted(count(pieces, "cannot"))
              + more;
      case "unknown" ->
          "Of %d of its pieces only the running QEMU can tell whether they move"
                  .formatted(count(pieces, "unknown"))
              + more;
      case "remark" ->
          "It moves, with remarks on %d of its pieces".formatted(count(pieces, "remark")) + more;
      default -> "It moves: all of its %d pieces do.".formatted(pieces.size());
    };
  }

  private static long count(List<JsonNode> pieces, String verdict) {
    return pieces.stream().filter(piece -> is(piece, verdict)).count();
  }

  private static boolean is(JsonNode piece, String verdict) {
    return piece.path("verdict").asString().equals(verdict);
  }
}
