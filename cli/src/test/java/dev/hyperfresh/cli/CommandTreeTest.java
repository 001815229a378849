package dev.hyperfresh.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

class CommandTreeTest {

  /// The arguments that lead to every command of this module.
  static Stream<List<String>> commands() {
    List<List<String>> paths = new ArrayList<>();
    collect(new CommandLine(Main.class), List.of(), paths);
    return paths.stream();
  }

  private static void collect(CommandLine line, List<String> path, List<List<String>> paths) {
    paths.add(path);
    line.getSubcommands()
        .forEach((name, sub) -> {
          List<String> longer = new ArrayList<>(path);
          longer.add(name);
          collect(sub, longer, paths);
        });
  }

  @ParameterizedTest
  @MethodSource("commands")
  void everyCommandExplainsItself(List<String> path) {
    Said help = run(path, "--help");

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
  void everyCommandThatWorksTakesStateAndJson(List<String> path) {
    CommandLine line = find(path);
    if (!line.getSubcommands().isEmpty() || path.contains("generate-completion")) {
      return;
    }
    assertThat(line.getCommandSpec().findOption("--state")).as("--state").isNotNull();
    assertThat(line.getCommandSpec().findOption("--json")).as("--json").isNotNull();
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
    assertThat(said.err()).contains("Usage: hyperfresh");
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
        "guest show a b",
        "guest autostart web1",
        "guest autostart web1 maybe",
        "guest edit web1",
        "daemon --starts 0",
        "release fetch",
        "release add",
        "release build",
        "release build guest --kernel 6.12 --qemu 10.0",
        "release build machine --kernel 6.12",
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
        "replace --machine m1",
        "replace web1 --machine m1 --to machine-6.12",
        "replace --machine m1 --to machine-6.12 --all",
        "replace --machine m1 --to machine-6.12 --dry-run",
        "replace web1",
        "replace --to qemu-10.0",
        "replace web1 --to qemu-10.0 --max-blackout soon",
        "history --limit many",
        "history web1 web2"
      })
  void aWrongCommandIsBadInput(String command) {
    Said said = Said.by(command.split(" "));

    assertThat(said.exit()).isEqualTo(2);
    assertThat(said.out()).isEmpty();
    assertThat(said.err()).isNotBlank();
  }

  private static Said run(List<String> path, String option) {
    List<String> arguments = new ArrayList<>(path);
    arguments.add(option);
    return Said.by(arguments.toArray(String[]::new));
  }

  private static String joined(List<String> path) {
    return path.isEmpty() ? "" : " " + String.join(" ", path);
  }

  private static CommandLine find(List<String> path) {
    CommandLine line = new CommandLine(Main.class);
    for (String name : path) {
      line = Objects.requireNonNull(line.getSubcommands().get(name), name);
    }
    return line;
  }
}
