package dev.hyperfresh.cli;

import dev.hyperfresh.host.Change;
import dev.hyperfresh.host.Knob;
import dev.hyperfresh.host.NestingProfile;
import dev.hyperfresh.host.Undone;
import dev.hyperfresh.hypervisor.Problem;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/// `hyperfresh machine tune`. Needs no daemon.
@Command(
    name = "tune",
    description =
        "Show which settings of this host make nested guests cheap, and apply those asked for.",
    footer = {
      "",
      "Nothing is changed without --apply, --all or --huge-pages. Changes last",
      "until the host reboots, or until --undo.",
      "",
      "Examples:",
      "  hyperfresh machine tune                           each setting as it is here",
      "  hyperfresh machine tune --apply halt-polling,ksm  these two",
      "  hyperfresh machine tune --huge-pages 4096         4 GiB as huge pages",
      "  hyperfresh machine tune --all                     all that can be set here",
      "  hyperfresh machine tune --undo                    restore the old values"
    })
final class TuneCommand implements Runnable {
  private static final String ROW = "%-8s %-22s %s%n";

  private final NestingProfile profile;

  @Mixin private Options options = new Options();

  @Spec private CommandSpec spec = CommandSpec.create();

  @ArgGroup(exclusive = true)
  private @Nullable Choice choice;

  @Option(
      names = "--huge-pages",
      paramLabel = "MIB",
      description =
          "Reserve this much memory in total as pages of 2 MiB; never less than is reserved now.")
  private long hugePagesMib;

  private static final class Choice {
    @Option(
        names = "--apply",
        paramLabel = "NAME",
        split = ",",
        description = "Apply these settings.")
    private Set<String> names = new TreeSet<>();

    @Option(names = "--all", description = "Apply every setting that can be changed on this host.")
    private boolean all;

    @Option(names = "--undo", description = "Undo what was applied since the host started.")
    private boolean undo;
  }

  TuneCommand() {
    this(Path.of("/"));
  }

  /// @param root the folder that the host's files lie under
  TuneCommand(Path root) {
    this.profile = new NestingProfile(root);
  }

  @Override
  public void run() {
    boolean hugePages = spec.commandLine().getParseResult().hasMatchedOption("--huge-pages");
    if (choice != null && choice.undo) {
      if (hugePages) {
        throw Problem.TUNE_REQUEST.because("--undo restores everything and excludes --huge-pages.");
      }
      showUndone(profile.undo());
      return;
    }
    if (choice == null && !hugePages) {
      showKnobs(profile.knobs());
      return;
    }
    Set<String> names = new TreeSet<>();
    if (choice != null) {
      names.addAll(choice.all ? profile.applicable() : choice.names);
    }
    if (hugePages) {
      names.add("huge-pages");
    }
    showChanges(profile.apply(names, hugePagesMib));
  }

  private void showKnobs(List<Knob> knobs) {
    if (options.printed(Map.of("knobs", knobs.stream().map(TuneCommand::json).toList()))) {
      return;
    }
    for (Knob knob : knobs) {
      System.out.printf(ROW, knob.state().word(), knob.name(), knob.found());
      System.out.printf(ROW, "", "", knob.purpose());
      if (!knob.action().isEmpty()) {
        System.out.printf(ROW, "", "", "→ " + knob.action());
      }
    }
  }

  private void showChanges(List<Change> changes) {
    if (options.printed(Map.of("changed", changes.stream().map(TuneCommand::json).toList()))) {
      return;
    }
    changes.forEach(TuneCommand::show);
    System.out.println(
        changes.isEmpty()
            ? "Nothing had to be changed."
            : "hyperfresh machine tune --undo restores the old values; a reboot does too.");
  }

  private void showUndone(Undone undone) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("changed", undone.changed().stream().map(TuneCommand::json).toList());
    json.put("left", undone.left());
    if (options.printed(json)) {
      return;
    }
    undone.changed().forEach(TuneCommand::show);
    undone.left().forEach(text -> System.out.println("left alone: " + text));
    if (undone.changed().isEmpty() && undone.left().isEmpty()) {
      System.out.println("There is nothing to undo.");
    }
  }

  private static void show(Change change) {
    System.out.printf(
        "%-22s %s → %s   %s%n", change.knob(), change.before(), change.after(), change.file());
  }

  private static Map<String, Object> json(Knob knob) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", knob.name());
    json.put("state", knob.state().word().replace(' ', '_'));
    json.put("purpose", knob.purpose());
    json.put("found", knob.found());
    json.put("action", knob.action());
    json.put("settable", knob.settable());
    return json;
  }

  private static Map<String, Object> json(Change change) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("name", change.knob());
    json.put("file", change.file().toString());
    json.put("before", change.before());
    json.put("after", change.after());
    return json;
  }
}
