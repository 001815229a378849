package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class CommandTreeTest {
  private static final CommandLine TREE = new CommandLine(Main.class);

  /// What each command says to `--help`; more than one test reads it.
  private static final Map<List<String>, Said> HELP = new HashMap<>();

  /// The arguments that lead to every command of this module.
  static Stream<List<String>> commands() {
    List<List<String>> paths = new ArrayList<>();
    collect(TREE, List.of(), paths);
    return paths.stream();
  }

  private static void collect(CommandLine line, List<String> path, List<List<String>> paths) {
    paths.add(path);
    line.getSubcommands()
        .forEach((name, sub) -> {
          if (name.equals(sub.getCommandName())) {
            List<String> longer = new ArrayList<>(path);
            longer.add(name);
            collect(sub, longer, paths);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandExplainsItself(List<String> path) {
    Said help = help(path);

    assertThat(help.exit()).isZero();
    assertThat(help.err()).isEmpty();
    assertThat(help.out()).startsWith("Usage: hyperfresh" + joined(path)).contains("--help");
    CommandLine line = find(path);
    assertThat(line.getCommandSpec().usageMessage().description()).isNotEmpty();
    line.getCommandSpec()
        .options()
        .forEach(option -> assertThat(help.out()).contains(option.longestName()));
    line.getSubcommands().keySet().forEach(name -> assertThat(help.out()).contains(name));
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandTakesStateAndFormat(List<String> path) {
    if (path.contains("generate-completion")) {
      return;
    }
    for (String option : List.of("--state", "-o", "--output", "--json")) {
      assertThat(find(path).getCommandSpec().findOption(option)).as(option).isNotNull();
    }
  }

  /// Each of these commands has a short word or a long one that other tools have taught.
  @ParameterizedTest
  @MethodSource("commands")
  void listsAndRemovalsHaveTheirUsualWords(List<String> path) {
    if (path.isEmpty()) {
      return;
    }
    List<String> aliases = List.of(find(path).getCommandSpec().aliases());
    switch (path.getLast()) {
      case "list" -> assertThat(aliases).contains("ls");
      case "delete", "remove" -> assertThat(aliases).contains("rm");
      case "rm" -> assertThat(aliases).contains("remove", "delete");
      default -> assertThat(aliases).isEmpty();
    }
  }

  /// Also the description of an option that the terminal's width breaks is broken once, and no line
  /// of a paragraph ends in the middle of the page.
  @ParameterizedTest
  @MethodSource("commands")
  void helpIsWrappedOnce(List<String> path) {
    if (path.contains("generate-completion")) {
      return;
    }
    List<String> lines = help(path).out().lines().toList();

    assertThat(lines).allMatch(line -> line.length() <= 80);
    for (int i = 0; i + 1 < lines.size(); i++) {
      boolean paragraph = isText(lines.get(i)) && isText(lines.get(i + 1));
      String next = lines.get(i + 1).split(" ", 2)[0];
      if (paragraph && !lines.get(i).endsWith(":")) {
        assertThat(
                lines.get(i).stripTrailing().length()
                    + 1
                    + next.replaceFirst("(-*[^-]*).*", "$1").length())
            .as(lines.get(i))
            .isGreaterThan(78);
      }
    }
  }

  private static boolean isText(String line) {
    return !line.isBlank() && !line.startsWith(" ") && !line.startsWith("Usage:");
  }

  @ParameterizedTest
  @MethodSource("commands")
  void anUnknownOptionIsBadInput(List<String> path) {
    // The library's own command takes whatever it is given.
    if (path.contains("generate-completion")) {
      return;
    }
    Said said = run(path, "--no-such-option");

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.out()).isEmpty();
    assertThat(said.err().lines())
        .hasSize(2)
        .first()
        .asString()
        .matches("hyperfresh: (Unknown option: '--no-such-option'|Missing required .*)");
    assertThat(said.err().lines().toList().getLast())
        .matches("  (`hyperfresh.* --help` shows what it takes\\.|Did you mean .*\\?)");
  }

  @Test
  void aWordThatIsAlmostOneIsGuessed() {
    Said said = Said.by("guest", "list", "--stat=x");

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.err().lines()).hasSize(2);
    assertThat(said.err()).contains("--stat=x").contains("  Did you mean ").contains("--state");
    assertThat(Said.by("gest", "list").err()).contains("  Did you mean ").contains("guest");
  }

  @Test
  void theHelpOfACommandIsItsOwn() {
    assertThat(Said.by("container", "show", "--help").out())
        .startsWith("Usage: hyperfresh container show ");
    assertThat(Said.by("container", "show", "web1", "--help").out())
        .startsWith("Usage: hyperfresh container show ");
    assertThat(Said.by("guest", "rm", "--help").out()).startsWith("Usage: hyperfresh guest ");
  }

  @Test
  void theVersionIsOneLine() {
    assertThat(Said.by("--version"))
        .isEqualTo(new Said(0, "hyperfresh " + Main.VERSION + System.lineSeparator(), ""));
  }

  @Test
  void withoutACommandTheUsageIsShown() {
    Said said = Said.by();

    assertThat(said.exit()).isZero();
    assertThat(said.out()).startsWith("Usage: hyperfresh");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "frobnicate",
        "guest create",
        "guest show",
        "guest stop web1 --patience soon",
        "guest stop",
        "guest stop web1 --all",
        "guest stop web1 web2 --patience -5",
        "guest show a b",
        "guest autostart web1",
        "guest autostart web1 maybe",
        "guest edit web1",
        "daemon --starts 0",
        "release fetch",
        "release add",
        "release prune --days some",
        "release build",
        "release build guest --kernel 6.12 --qemu 10.0",
        "release build machine --kernel 6.12",
        "release build machine --kernel 6.12 --qemu 10.0 --userland trixie",
        "release build machine --kernel 6.12 --qemu 10.0 --tuned",
        "release build qemu --from debian-10.0",
        "release build qemu --tuned",
        "release build qemu --from debian-10.0 --tuned --kernel 6.12",
        "container run web1 --os os1",
        "container run web1 --os os1 --bundle a --image b",
        "container exec web1",
        "container exec --frob web1 ls",
        "machine create m1",
        "machine create --release machine-6.12",
        "machine create m1 --release machine-6.12 --memory lots",
        "machine create m1 --release machine-6.12 --vcpus two",
        "machine show",
        "machine delete a b",
        "explain",
        "explain 1 2",
        "explain 1 --to",
        "replace --machine m1",
        "replace web1 --machine m1 --to machine-6.12",
        "replace --machine m1 --to machine-6.12 --all",
        "replace --machine m1 --to machine-6.12 --dry-run",
        "replace web1",
        "replace --to qemu-10.0",
        "replace --libvirt --to qemu-10.0",
        "replace --libvirt web1 --all --to qemu-10.0",
        "replace --libvirt --machine m1 --to qemu-10.0",
        "replace --libvirt web1 --to qemu-10.0 --from qemu-7.2",
        "replace --libvirt web1 web2 --to qemu-10.0 --canary 1 --soak 5s",
        "replace --libvirt web1 web2 --to qemu-10.0 --parallel 2",
        "replace --libvirt web1 --to qemu-10.0 --force",
        "replace --libvirt web1 --to qemu-10.0 --step-clock",
        "replace web1 --to qemu-10.0 --max-blackout soon",
        "wait guest/web1",
        "wait web1 --for state=running",
        "wait volume/data --for state=running",
        "wait guest/ --for state=running",
        "wait guest/web1 --for running",
        "wait guest/web1 --for =running",
        "wait guest/web1 --for state=running --timeout soon",
        "guest list -o xml",
        "replace web1 web2 --to qemu-10.0 --force",
        "replace --all --to qemu-10.0 --force",
        "replace web1 --to qemu-10.0 --force --dry-run",
        "history --limit many",
        "history web1 web2"
      })
  void aWrongCommandIsBadInput(String command) {
    Said said = Said.by(command.split(" "));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.out()).isEmpty();
    assertThat(said.err().lines()).hasSize(2).first().asString().startsWith("hyperfresh: ");
  }

  private static Said help(List<String> path) {
    return HELP.computeIfAbsent(path, command -> run(command, "--help"));
  }

  private static Said run(List<String> path, String option) {
    List<String> arguments = new ArrayList<>(path);
    arguments.add(option);
    return Said.by(arguments.toArray(String[]::new));
  }

  private static String joined(List<String> path) {
    return path.isEmpty() ? "" : " " + String.join(" ", path);
  }

  static CommandLine find(List<String> path) {
    CommandLine line = TREE;
    for (String name : path) {
      line = Objects.requireNonNull(line.getSubcommands().get(name), name);
    }
    return line;
  }
}
