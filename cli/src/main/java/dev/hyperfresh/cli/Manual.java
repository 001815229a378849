package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.FileSetting;
import dev.hyperfresh.daemon.PolicySetting;
import dev.hyperfresh.daemon.Setting;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/// What `./package` runs to write what is said elsewhere of commands and settings: manual pages,
/// the completion of the shell, and the configuration file as it is shipped. All of it is made from
/// the commands and [Setting] themselves.
public final class Manual {
  private static final int COLUMNS = 78;
  private static final String CONFIG = "hyperfresh.yaml";
  private static final String POLICY = "hyperfresh-policy.yaml";

  private Manual() {}

  /// Writes everything below the folder that is named, where a host has it.
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: Manual OUT");
      System.exit(2);
    }
    Path root = Path.of(arguments[0]);
    CommandLine line = Main.line();
    Path man = root.resolve("usr/share/man");
    for (Map.Entry<String, String> page : commandPages(line).entrySet()) {
      write(man.resolve("man1").resolve(page.getKey() + ".1"), page.getValue());
    }
    write(man.resolve("man5").resolve(CONFIG + ".5"), configPage());
    write(man.resolve("man5").resolve(POLICY + ".5"), policyPage());
    write(
        root.resolve("usr/share/bash-completion/completions/hyperfresh"), Completion.script(line));
    write(root.resolve("etc/hyperfresh").resolve(CONFIG), configFile());
    write(root.resolve("etc/hyperfresh").resolve("policy.yaml"), policyFile());
  }

  private static void write(Path file, String text) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, text);
  }

  /// A page in the form of man(7) for each command, by its name.
  static Map<String, String> commandPages(CommandLine line) {
    Map<String, String> pages = new LinkedHashMap<>();
    pages.put(name(line), commandPage(line));
    line.getSubcommands().values().forEach(sub -> pages.putAll(commandPages(sub)));
    return pages;
  }

  private static String name(CommandLine line) {
    return line.getCommandSpec().qualifiedName("-");
  }

  private static String commandPage(CommandLine line) {
    CommandSpec spec = line.getCommandSpec();
    Page page = new Page(name(line), 1);
    String[] description = spec.usageMessage().description();
    page.section("NAME");
    page.text(name(line) + " - " + (description.length == 0 ? "" : description[0]));
    page.section("SYNOPSIS");
    page.verbatim(plain(line.getHelp().synopsis(0)).lines().toList());
    if (description.length > 0) {
      page.section("DESCRIPTION");
      page.text(String.join(" ", description));
    }
    if (!spec.positionalParameters().isEmpty()) {
      page.section("ARGUMENTS");
      spec.positionalParameters().forEach(it -> page.item(it.paramLabel(), meaning(it)));
    }
    if (!spec.options().isEmpty()) {
      page.section("OPTIONS");
      spec.options().forEach(option -> page.item(form(option), meaning(option)));
    }
    if (!line.getSubcommands().isEmpty()) {
      page.section("COMMANDS");
      line.getSubcommands()
          .values()
          .forEach(sub ->
              page.item(
                  name(sub) + "(1)",
                  String.join(" ", sub.getCommandSpec().usageMessage().description())));
    }
    if (spec.usageMessage().footer().length > 0) {
      page.section("NOTES");
      page.verbatim(List.of(spec.usageMessage().footer()));
    }
    page.section("SEE ALSO");
    page.text(
        (spec.parent() == null ? "" : spec.parent().qualifiedName("-") + "(1), ") + CONFIG + "(5)");
    return page.toString();
  }

  private static String form(OptionSpec option) {
    String names = String.join(", ", option.names());
    return option.arity().max() == 0 ? names : names + " " + option.paramLabel();
  }

  private static String meaning(ArgSpec argument) {
    return String.join(" ", argument.description());
  }

  private static String plain(String text) {
    return CommandLine.Help.Ansi.OFF.string(text);
  }

  /// The page of the configuration file.
  static String configPage() {
    return filePage(
        CONFIG,
        CONFIG,
        "the configuration of HyperFresh's daemon",
        "A mapping of settings to values, in YAML. The daemon reads it as a whole when it starts: a"
            + " setting that does not exist, exists twice or has a wrong value is refused, and all"
            + " faults are named at once. Users other than root have the second file. Options of the"
            + " command override the file. `hyperfresh config check` checks it without a daemon, and"
            + " `hyperfresh config show` shows what holds and why.",
        Setting.values(),
        "hyperfresh(1), hyperfresh-daemon(1), hyperfresh-config(1), hyperfresh-policy.yaml(5)");
  }

  /// The page of the policy file.
  static String policyPage() {
    return filePage(
        POLICY,
        "policy.yaml",
        "what HyperFresh does about guests that run an older QEMU",
        "A mapping of settings to values, in YAML. It is read as a whole each time that the policy"
            + " is applied: a setting that does not exist, exists twice or has a wrong value is"
            + " refused, and all faults are named at once. Users other than root have the second"
            + " file. `hyperfresh policy check` checks it, and `hyperfresh policy show` shows what"
            + " holds and when the window is open. The service hyperfresh-policy applies it after an"
            + " upgrade of the host's own QEMU, in the window, and once a day where there is none.",
        PolicySetting.values(),
        "hyperfresh(1), hyperfresh-policy(1), hyperfresh-outdated(1), hyperfresh-replace(1)");
  }

  private static String filePage(
      String name,
      String file,
      String what,
      String description,
      FileSetting[] settings,
      String others) {
    Page page = new Page(name, 5);
    page.section("NAME");
    page.text(name + " - " + what);
    page.section("SYNOPSIS");
    page.verbatim(List.of("/etc/hyperfresh/" + file, "$XDG_CONFIG_HOME/hyperfresh/" + file));
    page.section("DESCRIPTION");
    page.text(description);
    page.section("SETTINGS");
    for (FileSetting setting : settings) {
      page.item(
          setting.key() + ": " + setting.form(),
          setting.meaning() + " Default for root: " + setting.example());
    }
    page.section("SEE ALSO");
    page.text(others);
    return page.toString();
  }

  /// The file as it is shipped: every setting is there, as a comment with its default.
  static String configFile() {
    return shipped(
        "The configuration of HyperFresh's daemon; see hyperfresh.yaml(5). Every setting is here"
            + " with its default. A change holds from the next daemon on:",
        "hyperfresh config check && systemctl reload hyperfresh",
        Setting.values());
  }

  /// As [#configFile].
  static String policyFile() {
    return shipped(
        "What HyperFresh does about guests that run an older QEMU than the one that is installed;"
            + " see hyperfresh-policy.yaml(5). Every setting is here with its default. A change holds from the next run on, and in a"
            + " run for the guests after the canaries; `systemctl stop hyperfresh-policy` ends one"
            + " before its next guest. After a change:",
        "hyperfresh policy check && hyperfresh policy apply --dry-run",
        PolicySetting.values());
  }

  private static String shipped(String about, String command, FileSetting[] settings) {
    List<String> lines = new ArrayList<>();
    comment(about, lines);
    lines.add("#   " + command);
    for (FileSetting setting : settings) {
      lines.add("");
      comment(setting.meaning(), lines);
      lines.add("#" + setting.key() + ": " + setting.example());
    }
    return String.join("\n", lines) + "\n";
  }

  private static void comment(String text, List<String> lines) {
    StringBuilder line = new StringBuilder("#");
    for (String word : text.split(" ")) {
      if (line.length() + 1 + word.length() > COLUMNS) {
        lines.add(line.toString());
        line = new StringBuilder("#");
      }
      line.append(' ').append(word);
    }
    lines.add(line.toString());
  }

  /// One page, as man(7) describes it.
  private static final class Page {
    private final StringBuilder roff = new StringBuilder();

    Page(String name, int section) {
      roff.append(
          ".TH \"%s\" %d \"\" \"HyperFresh %s\" \"HyperFresh\"\n"
              .formatted(escaped(name.toUpperCase(Locale.ROOT)), section, Main.VERSION));
    }

    void section(String heading) {
      roff.append(".SH ").append(heading).append('\n');
    }

    void text(String text) {
      roff.append(escaped(text)).append('\n');
    }

    void item(String term, String meaning) {
      roff.append(".TP\n\\fB").append(escaped(term)).append("\\fR\n");
      if (!meaning.isEmpty()) {
        text(meaning);
      }
    }

    void verbatim(List<String> lines) {
      roff.append(".nf\n");
      lines.forEach(this::text);
      roff.append(".fi\n");
    }

    /// A dot or an apostrophe at the beginning would be a request.
    private static String escaped(String text) {
      String safe = text.replace("\\", "\\e").replace("-", "\\-");
      return safe.startsWith(".") || safe.startsWith("'") ? "\\&" + safe : safe;
    }

    @Override
    public String toString() {
      return roff.toString();
    }
  }
}
