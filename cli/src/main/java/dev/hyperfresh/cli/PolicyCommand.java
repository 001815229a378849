package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.HostQemus;
import dev.hyperfresh.daemon.MaintenanceWindow;
import dev.hyperfresh.daemon.Policy;
import dev.hyperfresh.daemon.PolicySetting;
import dev.hyperfresh.daemon.PolicyStop;
import dev.hyperfresh.daemon.Settings;
import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import tools.jackson.databind.JsonNode;

/// `hyperfresh policy …`: what is done about guests that run an older QEMU after an upgrade.
@Command(
    name = "policy",
    description = "What is done about guests that run an older QEMU after an upgrade.",
    synopsisSubcommandLabel = "COMMAND",
    subcommands = {PolicyCommand.Check.class, PolicyCommand.Show.class, PolicyCommand.Apply.class})
final class PolicyCommand {
  /// A time of day for people, in the host's time zone.
  private static final DateTimeFormatter WHEN =
      DateTimeFormatter.ofPattern("EEE yyyy-MM-dd HH:mm z", Locale.ENGLISH);

  @SuppressWarnings("UnusedVariable") // picocli reads it
  @Mixin
  private Options options = new Options();

  private PolicyCommand() {}

  /// The file that a command reads.
  static final class FileToRead {
    @Parameters(
        paramLabel = "FILE",
        arity = "0..1",
        description = "Default: /etc/hyperfresh/policy.yaml, or the user's own.")
    private @Nullable Path file;

    Policy policy() {
      return file == null ? Policy.ordinary() : Policy.read(file.toAbsolutePath());
    }
  }

  private static String when(Instant instant, ZoneId zone) {
    return WHEN.format(ZonedDateTime.ofInstant(instant, zone));
  }

  @Command(
      name = "check",
      description = "Check the policy file as a whole; every fault is named.",
      footer = {"", "Examples:", "  hyperfresh policy check", "  hyperfresh policy check new.yaml"})
  static final class Check implements Runnable {
    @Mixin private Options options = new Options();
    @Mixin private FileToRead file = new FileToRead();

    @Override
    public void run() {
      Policy policy = file.policy();
      Map<String, Object> checked =
          Map.of(
              "file", policy.file().toString(),
              "present", policy.present(),
              "action", policy.action().word());
      if (!options.printed(checked)) {
        System.out.println(
            policy.file()
                + (policy.present() ? " is valid." : " is not there; the defaults hold."));
      }
    }
  }

  @Command(
      name = "show",
      description =
          "Show every setting of the policy, when its window is open, and whether it is" + " held.",
      footer = {"", "Example:", "  hyperfresh policy show"})
  static final class Show implements Runnable {
    @Mixin private Options options = new Options();
    @Mixin private FileToRead file = new FileToRead();

    @Override
    public void run() {
      Policy policy = file.policy();
      ZoneId zone = ZoneId.systemDefault();
      Optional<MaintenanceWindow.Opening> opening =
          policy.window().map(window -> window.next(Instant.now(), zone));
      Optional<PolicyStop> stop = PolicyStop.read(options.state());
      List<String> strangers = strangers(policy);
      Map<String, String> settings = new LinkedHashMap<>();
      for (PolicySetting setting : PolicySetting.values()) {
        settings.put(setting.key(), policy.value(setting));
      }
      Map<String, Object> shown = new LinkedHashMap<>();
      shown.put("file", policy.file().toString());
      shown.put("present", policy.present());
      shown.put("settings", settings);
      opening.ifPresent(it -> {
        shown.put("opens", it.opens().toString());
        shown.put("closes", it.closes().toString());
      });
      shown.put("stopped", stop.map(PolicyStop::words).orElse(""));
      shown.put("unknown_exceptions", strangers);
      if (options.printed(shown)) {
        return;
      }
      Output.table(
          List.of("SETTING", "VALUE"),
          settings.entrySet().stream().map(it -> List.of(it.getKey(), it.getValue())).toList());
      opening.ifPresent(it ->
          System.out.println(
              "Guests may begin to move from "
                  + when(it.opens(), zone)
                  + " to "
                  + when(it.closes(), zone)
                  + "."));
      stop.ifPresent(it ->
          System.out.println(
              it.wasInterrupted()
                  ? when(it.at(), zone) + ": " + it.words()
                  : "Held since "
                      + when(it.at(), zone)
                      + ": "
                      + it.words()
                      + " `hyperfresh policy apply --again` tries it again."));
      if (!strangers.isEmpty()) {
        System.out.println(PolicyReport.strangers(strangers));
      }
    }

    /// Without a daemon nobody knows which guests there are.
    private List<String> strangers(Policy policy) {
      try {
        return policy.except().isEmpty()
            ? List.of()
            : PolicyRun.strangers(policy, options.client());
      } catch (HyperFreshException absent) {
        return List.of();
      }
    }
  }

  @Command(
      name = "apply",
      description = "Do what the policy says about guests that run an older QEMU.",
      footer = {
        "",
        "Guests that are machines, operating systems or inside a machine are left as they are, and",
        "so are QEMUs that are not the daemon's. At the first failure no other guest is moved, and",
        "no later run moves one to the same build until --again is given. What moved is in",
        "`hyperfresh history`. One line is printed for each guest. When the first guests were",
        "watched, the policy is read again for the others. Who interrupts it lets the daemon finish",
        "the moves that it has begun; it begins no other one.",
        "",
        "Exit codes: 0 nothing is left to do, 8 guests run an older QEMU and that was all to be",
        "  said, they wait for the window, or the policy was changed meanwhile, 5 one failed or",
        "  cannot move, or the policy is held, 2 it is not valid, or an exception is no guest,",
        "  3 of some it cannot be read what they run, or another run is under way.",
        "",
        "Examples:",
        "  hyperfresh policy apply --dry-run",
        "  hyperfresh policy apply",
        "  hyperfresh policy apply --now --again"
      })
  static final class Apply implements Callable<Integer> {
    private static final Duration DAY = Duration.ofDays(1);

    private final Path root;
    private final InstantSource clock;
    private final ZoneId zone;

    @Mixin private Options options = new Options();
    @Mixin private FileToRead file = new FileToRead();

    @Option(
        names = "--dry-run",
        description = "Only check and rehearse each move, whatever the action of the policy is.")
    private boolean dryRun;

    @Option(names = "--now", description = "Do not wait for the window.")
    private boolean now;

    @Option(names = "--again", description = "Also after a failure.")
    private boolean again;

    @Option(
        names = "--next",
        paramLabel = "PATH",
        description =
            "Write to this file when to apply it next, in seconds since 1970. The service does.")
    private @Nullable Path next;

    Apply() {
      this(Path.of("/"), InstantSource.system(), ZoneId.systemDefault());
    }

    /// @param root the folder that the host's files lie under
    Apply(Path root, InstantSource clock, ZoneId zone) {
      this.root = root;
      this.clock = clock;
      this.zone = zone;
    }

    @Override
    public Integer call() {
      Policy policy = valid();
      PolicyResult result = run(policy);
      if (!options.printed(PolicyReport.json(wanted(policy), result))) {
        PolicyReport.lines(wanted(policy), result).forEach(System.out::println);
        result
            .opens()
            .ifPresent(opens -> System.out.println("The window opens " + when(opens, zone) + "."));
      }
      return result.exitCode();
    }

    /// A file that is faulty does not become valid by itself.
    private Policy valid() {
      try {
        return file.policy();
      } catch (HyperFreshException e) {
        write(Optional.empty());
        throw e;
      }
    }

    private PolicyResult run(Policy policy) {
      Optional<Instant> opens = policy.window().map(this::nextOpening);
      try {
        PolicyResult result = asked();
        write(opens);
        return result;
      } catch (HyperFreshException e) {
        // Anything else may have passed in a moment.
        if (List.of(Problem.POLICY_HELD, Problem.POLICY_INVALID).contains(e.problem())) {
          write(opens);
        }
        throw e;
      }
    }

    private Policy wanted(Policy policy) {
      Policy timed = now ? policy.atAnyTime() : policy;
      return dryRun ? timed.withAction(Policy.Action.DRY_RUN) : timed;
    }

    private PolicyResult asked() {
      Settings settings = options.settings();
      HostQemus qemus = HostQemus.under(root, settings.config());
      Progress progress = Terminal.isThere() ? Output::progress : Progress.NONE;
      return new PolicyRun(
              () -> wanted(file.policy()),
              settings.stateDirectory(),
              options::client,
              owned -> Output.JSON.<JsonNode>valueToTree(qemus.look(owned)),
              clock,
              zone,
              progress)
          .run(again);
    }

    /// Of an open window, when it opens the next time.
    private Instant nextOpening(MaintenanceWindow window) {
      MaintenanceWindow.Opening opening = window.next(clock.instant(), zone);
      return opening.contains(clock.instant())
          ? window.next(opening.closes(), zone).opens()
          : opening.opens();
    }

    private void write(Optional<Instant> opens) {
      if (next == null) {
        return;
      }
      long seconds = opens.orElseGet(() -> clock.instant().plus(DAY)).getEpochSecond();
      try {
        Files.writeString(next, seconds + "\n");
      } catch (IOException e) {
        throw Problem.DAEMON_STATE.because(next + " cannot be written: " + e.getMessage(), e);
      }
    }
  }
}
