package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.BlackoutLimit;
import dev.hyperfresh.hyperplexor.Rollout;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// What is done about guests that run an older QEMU than the one that is installed, as a file says
/// it; see [PolicySetting]. Immutable.
///
/// @param file where it was read
/// @param present whether there is such a file; without one the defaults hold
/// @param window when guests may begin to move; empty for at any time
/// @param blackout how long a switch may take
/// @param except the names of guests that are left as they are
public record Policy(
    Path file,
    boolean present,
    Action action,
    Rollout.Pace pace,
    Optional<MaintenanceWindow> window,
    Duration blackout,
    Set<String> except) {
  private static final String ANY = "any";
  private static final String NAME = "policy.yaml";

  private static final Set<String> KEYS =
      Arrays.stream(PolicySetting.values()).map(PolicySetting::key).collect(Collectors.toSet());

  /// What is done.
  public enum Action {
    /// It is said.
    REPORT,
    /// Each move is checked and rehearsed, and no guest is touched.
    DRY_RUN,
    /// The guests are moved.
    REPLACE;

    /// As people write it.
    public String word() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /// What there is to do now.
  public sealed interface Step {
    /// Nothing: every guest runs what is installed, or is an exception.
    record Nothing() implements Step {}

    /// To say who runs an older QEMU.
    record Report() implements Step {}

    /// To check and rehearse each move.
    record DryRun() implements Step {}

    /// To wait until the window opens.
    record Waits(Instant opens) implements Step {}

    /// To do nothing until somebody has looked at why the last run stopped.
    record Held(String why) implements Step {}

    /// To move the guests.
    ///
    /// @param within the time left in the window; empty for no end
    record Replace(Optional<Duration> within) implements Step {}
  }

  /// Copies the exceptions.
  public Policy {
    except = Set.copyOf(except);
  }

  /// The file that is read when none is named: beside the configuration file.
  public static Path ordinaryFile() {
    return Settings.ordinaryFile().resolveSibling(NAME);
  }

  /// What [#ordinaryFile] says; the defaults when it is not there.
  ///
  /// @throws HyperFreshException [Problem#POLICY_INVALID]
  public static Policy ordinary() {
    Path file = ordinaryFile();
    try {
      return parse(Files.readString(file), file);
    } catch (NoSuchFileException absent) {
      return new Reader(YamlReader.tree("", Problem.POLICY_INVALID), file, false).read();
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  /// What `file` says, which must be there.
  ///
  /// @throws HyperFreshException [Problem#POLICY_INVALID]
  public static Policy read(Path file) {
    try {
      return parse(Files.readString(file), file);
    } catch (IOException e) {
      throw unreadable(file, e);
    }
  }

  private static HyperFreshException unreadable(Path file, IOException e) {
    return Problem.POLICY_INVALID.because(file + " cannot be read: " + e.getMessage(), e);
  }

  /// Reads a document as a whole.
  ///
  /// @param file where it stands
  /// @throws HyperFreshException [Problem#POLICY_INVALID] with every fault
  public static Policy parse(String text, Path file) {
    try {
      JsonNode root = YamlReader.tree(text, Problem.POLICY_INVALID);
      if (!root.isObject() && !root.isMissingNode() && !root.isNull()) {
        throw Problem.POLICY_INVALID.because("It is not a mapping of settings to values.");
      }
      return new Reader(root, file, true).read();
    } catch (HyperFreshException e) {
      throw Problem.POLICY_INVALID.because(file + ": " + e.detail(), e);
    }
  }

  /// What there is to do.
  ///
  /// @param outdated whether any guest that is no exception runs an older QEMU
  /// @param stopped why the last run stopped, if it is to hold the next one
  public Step step(boolean outdated, Optional<String> stopped, Instant now, ZoneId zone) {
    if (!outdated) {
      return new Step.Nothing();
    }
    return switch (action) {
      case REPORT -> new Step.Report();
      case DRY_RUN -> new Step.DryRun();
      case REPLACE ->
          stopped
              .<Step>map(Step.Held::new)
              .orElseGet(() ->
                  window
                      .map(it -> it.next(now, zone))
                      .map(it -> step(it, now))
                      .orElseGet(() -> new Step.Replace(Optional.empty())));
    };
  }

  private static Step step(MaintenanceWindow.Opening opening, Instant now) {
    return opening.contains(now)
        ? new Step.Replace(Optional.of(Duration.between(now, opening.closes())))
        : new Step.Waits(opening.opens());
  }

  /// The same with another action.
  public Policy withAction(Action other) {
    return new Policy(file, present, other, pace, window, blackout, except);
  }

  /// The same without a window.
  public Policy atAnyTime() {
    return new Policy(file, present, action, pace, Optional.empty(), blackout, except);
  }

  /// The value of a setting, as the file would have it.
  public String value(PolicySetting setting) {
    return switch (setting) {
      case ACTION -> action.word();
      case CANARY -> Integer.toString(pace.canary());
      case SOAK -> TimeSpan.text(pace.soak());
      case PARALLEL -> Integer.toString(pace.parallel());
      case WINDOW -> window.map(MaintenanceWindow::text).orElse(ANY);
      case BLACKOUT -> TimeSpan.text(blackout);
      case EXCEPT -> except.stream().sorted().collect(Collectors.joining(", ", "[", "]"));
    };
  }

  /// One reading of one document.
  private static final class Reader extends YamlReader {
    private final Path file;
    private final boolean present;

    Reader(JsonNode root, Path file, boolean present) {
      super(root, Path.of(""));
      this.file = file;
      this.present = present;
    }

    Policy read() {
      unknownKeys(root, KEYS, "");
      Rollout.Pace pace =
          new Rollout.Pace(number(PolicySetting.PARALLEL), number(PolicySetting.CANARY), soak());
      faults.addAll(pace.faults());
      Policy policy = new Policy(file, present, action(), pace, window(), blackout(), except());
      policy
          .window()
          .filter(window -> pace.canary() > 0 && pace.soak().compareTo(window.length()) >= 0)
          .ifPresent(window ->
              faults.add(
                  "soak: %s is not shorter than the window, so that only canaries would move"
                      .formatted(TimeSpan.text(pace.soak()))));
      if (!faults.isEmpty()) {
        throw Problem.POLICY_INVALID.because(String.join("; ", faults) + ".");
      }
      return policy;
    }

    private Action action() {
      String word = said(PolicySetting.ACTION);
      Optional<Action> action =
          Arrays.stream(Action.values()).filter(it -> it.word().equals(word)).findFirst();
      if (action.isEmpty()) {
        faults.add("action: '" + word + "' is not one of report, dry-run, replace");
      }
      return action.orElse(Action.REPORT);
    }

    private String said(PolicySetting setting) {
      return text(root, setting.key(), setting.example());
    }

    private int number(PolicySetting setting) {
      JsonNode value = root.path(setting.key());
      if (value.isMissingNode() || value.isNull()) {
        return Integer.parseInt(setting.example());
      }
      if (!value.isInt()) {
        faults.add(setting.key() + ": is not a number");
        return Integer.parseInt(setting.example());
      }
      return value.asInt();
    }

    private Duration soak() {
      return time(PolicySetting.SOAK);
    }

    private Duration blackout() {
      Duration blackout = time(PolicySetting.BLACKOUT);
      if (blackout.compareTo(BlackoutLimit.MIN) < 0 || blackout.compareTo(BlackoutLimit.MAX) > 0) {
        faults.add("blackout: is not between 1ms and 60s");
      }
      return blackout;
    }

    /// A bare number would not say of what.
    private Duration time(PolicySetting setting) {
      String word = said(setting);
      Optional<Duration> time = TimeSpan.parse(word).filter(_ -> word.matches(".*[a-z]"));
      if (time.isEmpty()) {
        faults.add(setting.key() + ": '" + word + "' is not a time such as 500ms, 30s, 10m or 2h");
      }
      return time.orElseGet(() -> TimeSpan.parse(setting.example()).orElseThrow());
    }

    private Optional<MaintenanceWindow> window() {
      String word = said(PolicySetting.WINDOW);
      try {
        return word.equals(ANY) ? Optional.empty() : Optional.of(MaintenanceWindow.parse(word));
      } catch (IllegalArgumentException e) {
        faults.add("window: '" + word + "' " + e.getMessage());
        return Optional.empty();
      }
    }

    private Set<String> except() {
      JsonNode list = root.path(PolicySetting.EXCEPT.key());
      Set<String> names = new LinkedHashSet<>();
      if (list.isMissingNode() || list.isNull()) {
        return names;
      }
      if (!list.isArray()) {
        faults.add("except: is not a list of names, such as [db1, db2]");
        return names;
      }
      for (JsonNode name : list) {
        if (!name.isString() || !GuestSpec.isName(name.asString())) {
          faults.add("except: " + name + " is not the name of a guest");
        } else if (!names.add(name.asString())) {
          faults.add("except: " + name + " is there twice");
        }
      }
      return names;
    }
  }
}
