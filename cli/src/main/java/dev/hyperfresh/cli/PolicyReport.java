package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.Policy;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/// What a run of the policy came to: one line for each guest, of fields that a program can read as
/// well, and a sentence; or one document.
final class PolicyReport {
  private PolicyReport() {}

  static Map<String, Object> json(Policy policy, PolicyResult result) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("action", policy.action().word());
    json.put("outcome", result.outcome().word());
    result.opens().ifPresent(opens -> json.put("opens", opens.toString()));
    json.put("stopped", result.stopped());
    json.put("guests", result.guests().stream().map(PolicyReport::json).toList());
    json.put("others", result.others());
    json.put("unknown_exceptions", result.strangers());
    return json;
  }

  private static Map<String, Object> json(PolicyResult.Guest guest) {
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("guest", guest.name());
    json.put("from", guest.from());
    json.put("to", guest.to());
    json.put("outcome", guest.outcome());
    json.put("detail", guest.detail());
    Output.stoodMillis(guest.answer()).ifPresent(stood -> json.put("stood_ms", stood));
    return json;
  }

  static List<String> lines(Policy policy, PolicyResult result) {
    List<String> lines =
        new ArrayList<>(
            result.guests().stream().map(guest -> line(policy.action(), guest)).toList());
    lines.add(sentence(result));
    if (!result.strangers().isEmpty()) {
      lines.add(strangers(result.strangers()));
    }
    if (result.unknown() > 0) {
      lines.add(
          "Guests of which it cannot be read what they run: "
              + result.unknown()
              + "; the policy leaves them as they are.");
    }
    if (result.others() > 0) {
      lines.add(
          "Outdated QEMUs that the policy does not move: "
              + result.others()
              + "; `hyperfresh outdated` shows them.");
    }
    return lines;
  }

  /// Of exceptions that are no guests.
  static String strangers(List<String> names) {
    return "Exceptions that no guest is called: "
        + String.join(", ", names)
        + "; with `action: replace` no guest is moved before that is corrected.";
  }

  private static String line(Policy.Action action, PolicyResult.Guest guest) {
    StringBuilder line = new StringBuilder("guest=" + guest.name());
    line.append(" action=").append(action.word());
    line.append(" outcome=").append(guest.outcome());
    line.append(" from=").append(guest.from()).append(" to=").append(guest.to());
    OptionalDouble stood = Output.stoodMillis(guest.answer());
    if (stood.isPresent()) {
      line.append(String.format(Locale.ROOT, " stood_ms=%.2f", stood.getAsDouble()));
    }
    if (!guest.detail().isEmpty()) {
      line.append(" detail=").append(quoted(guest.detail()));
    }
    return line.toString();
  }

  /// Stays on its line, whatever a hypervisor said.
  private static String quoted(String text) {
    return '"' + text.replaceAll("\\p{Cntrl}+", " ").replace('"', '\'') + '"';
  }

  private static String sentence(PolicyResult result) {
    String moved = "Guests moved: " + result.count("committed") + ".";
    String stays = " Guests that cannot move: " + result.count("left-alone") + ".";
    return switch (result.outcome()) {
      case NOTHING -> "No guest is to be moved.";
      case REPORTED ->
          "Guests that run an older QEMU: "
              + result.count(PolicyResult.Guest.OUTDATED)
              + ". The policy only reports them.";
      case POSSIBLE -> "Each of them can move.";
      case IMPOSSIBLE -> stays.strip();
      case WAITS ->
          "Guests that wait for the window: " + result.count(PolicyResult.Guest.OUTDATED) + ".";
      case MOVED -> moved;
      case UNFINISHED -> moved + " The window closed before the others.";
      case CHANGED ->
          moved + " No other guest is, since the policy was changed: " + result.stopped();
      case FAILED ->
          result.stopped().isEmpty() ? moved + stays : moved + " It stopped: " + result.stopped();
    };
  }
}
