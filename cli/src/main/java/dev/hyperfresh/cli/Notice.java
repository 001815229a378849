package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.HostQemus;
import dev.hyperfresh.hypervisor.GuestSpec;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// The one line that is printed after an upgrade: how many run an older QEMU, and what to do.
final class Notice {
  private static final String OUTDATED = "hyperfresh outdated";

  /// More names do not fit a line.
  private static final int MOST_NAMES = 3;

  private Notice() {}

  /// @param answer of `hyperfresh outdated`
  /// @param own the processes that the daemon itself calls its own. A command line says whatever
  ///   its user likes, and root is to paste what this prints.
  /// @return empty when none is outdated
  static Optional<String> of(JsonNode answer, Set<Integer> own) {
    List<JsonNode> guests =
        answer
            .path("qemus")
            .valueStream()
            .filter(qemu -> own.contains(qemu.path("pid").asInt()))
            .filter(Notice::isGuest)
            .toList();
    List<JsonNode> old = guests.stream().filter(Notice::isOutdated).toList();
    int others = answer.path("outdated").asInt() - old.size();
    if (old.isEmpty()) {
      return others == 0
          ? Optional.empty()
          : Optional.of(counted(others, "QEMU") + " an older build; " + OUTDATED);
    }
    String rest =
        others == 0 ? "" : "; so " + (others == 1 ? "does 1 other" : "do " + others + " others");
    return Optional.of(
        counted(old.size(), "guest") + " an older QEMU" + rest + "; " + command(guests, old));
  }

  private static String counted(int count, String what) {
    return count == 1 ? "1 " + what + " runs" : count + " " + what + "s run";
  }

  /// `--all` would also take guests back that are further than what is installed.
  private static String command(List<JsonNode> guests, List<JsonNode> old) {
    Set<String> to =
        old.stream().map(guest -> guest.path("to").asString("")).collect(Collectors.toSet());
    if (to.size() != 1 || to.contains("")) {
      return OUTDATED;
    }
    if (guests.stream().allMatch(guest -> isOutdated(guest) || isThere(guest, old))) {
      return "hyperfresh replace --all --to " + to.iterator().next();
    }
    return old.size() > MOST_NAMES
        ? OUTDATED
        : old.stream()
            .map(guest -> guest.path("name").asString())
            .collect(
                Collectors.joining(" ", "hyperfresh replace ", " --to " + to.iterator().next()));
  }

  /// Whether it runs the build that the others are to run.
  private static boolean isThere(JsonNode guest, List<JsonNode> old) {
    JsonNode installed = old.getFirst().path("installed").path("label");
    return guest.path("running").path("label").equals(installed);
  }

  private static boolean isGuest(JsonNode qemu) {
    return qemu.path("role").asString("").equals(HostQemus.GUEST)
        && GuestSpec.isName(qemu.path("name").asString(""));
  }

  private static boolean isOutdated(JsonNode qemu) {
    return List.of("outdated", "removed").contains(qemu.path("state").asString(""));
  }
}
