package dev.hyperfresh.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/// The completion of bash: commands and options as the library has them, and names of guests,
/// machines, operating systems, containers, volumes and releases, for which the daemon is asked.
/// What a parameter names follows from its label.
final class Completion {
  private static final Map<String, String> LISTED =
      Map.of(
          "GUEST", "guest",
          "MACHINE", "machine",
          "OS", "os",
          "CONTAINER", "container",
          "VOLUME", "volume",
          "RELEASE", "release");

  /// The name of what a command is about; of those that make something, it is a new one.
  private static final String OWN = "NAME";

  private static final Set<String> MAKERS =
      Set.of("create", "run", "adopt", "fetch", "add", "build");

  private static final String NAMES =
      """

      # The names that the daemon knows; none when it does not answer.
      _hyperfresh_names() {
        hyperfresh "$1" list --json 2>/dev/null | grep -oE '"name" *: *"[^"]+"' | cut -d '"' -f 4
      }

      _hyperfresh() {
        local kind= word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
        if [[ $word != -* ]]; then
          case " ${COMP_WORDS[*]:1:COMP_CWORD-1} " in
      """;
  private static final String END =
      """
          esac
        fi
        if [[ -n $kind ]]; then
          mapfile -t COMPREPLY < <(compgen -W "$(_hyperfresh_names "$kind")" -- "$word")
        else
          _complete_hyperfresh
        fi
      }

      complete -F _hyperfresh -o default hyperfresh
      """;

  private Completion() {}

  /// The script for all commands of `line`.
  static String script(CommandLine line) {
    StringBuilder script = new StringBuilder(AutoComplete.bash("hyperfresh", line)).append(NAMES);
    leaves(line).forEach(leaf -> script.append(rule(leaf.getCommandSpec())));
    return script.append(END).toString();
  }

  private static List<CommandLine> leaves(CommandLine line) {
    List<CommandLine> leaves = new ArrayList<>();
    if (line.getSubcommands().isEmpty()) {
      leaves.add(line);
    }
    line.getSubcommands().values().forEach(sub -> leaves.addAll(leaves(sub)));
    return leaves;
  }

  /// What is completed after one command; nothing where it takes no name.
  private static String rule(CommandSpec command) {
    List<String> cases = new ArrayList<>();
    for (OptionSpec option : command.options()) {
      kind(command, option.paramLabel())
          .filter(_ -> option.arity().max() > 0)
          .ifPresent(kind -> cases.add(words(option) + ") kind=" + kind + " ;;"));
    }
    Optional<String> own =
        command.positionalParameters().stream()
            .flatMap(argument -> kind(command, argument.paramLabel()).stream())
            .findFirst();
    if (own.isPresent()) {
      String others =
          command.options().stream()
              .filter(option -> option.arity().max() > 0)
              .filter(option -> kind(command, option.paramLabel()).isEmpty())
              .map(Completion::words)
              .collect(Collectors.joining(" | "));
      if (!others.isEmpty()) {
        cases.add(others + ") ;;");
      }
      cases.add("*) kind=" + own.get() + " ;;");
    }
    if (cases.isEmpty()) {
      return "";
    }
    String path = command.qualifiedName(" ").replaceFirst("^\\S+ ", "");
    return "      ' "
        + path
        + " '*)\n        case $previous in\n"
        + cases.stream().map(line -> "          " + line + "\n").collect(Collectors.joining())
        + "        esac\n        ;;\n";
  }

  private static String words(OptionSpec option) {
    return String.join(" | ", option.names());
  }

  private static Optional<String> kind(CommandSpec command, String label) {
    if (MAKERS.contains(command.name()) && (label.equals(OWN) || label.equals("GUEST"))) {
      return Optional.empty();
    }
    return label.equals(OWN) && command.parent() != null
        ? Optional.of(command.parent().name()).filter(LISTED::containsValue)
        : Optional.ofNullable(LISTED.get(label));
  }
}
