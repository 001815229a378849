package dev.hyperfresh.cli;

import dev.hyperfresh.daemon.HostQemus;
import dev.hyperfresh.daemon.Policy;
import dev.hyperfresh.hypervisor.GuestSpec;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;

/// The one line that is printed after an upgrade: how many run an older QEMU, and what to do. Root
/// is to paste the command, so it touches no guest that the policy leaves as it is.
final class Notice {
  private static final String OUTDATED = "hyperfresh outdated";
  private static final String CHECK = "hyperfresh policy check";

  /// Says which guests it means, and moves them as the policy has it.
  private static final String APPLY = "hyperfresh policy apply";

  /// More names do not fit a line.
  private static final int MOST_NAMES = 3;

  private Notice() {}

  /// @param answer of `hyperfresh outdated`
  /// @param own the processes that the daemon itself calls its own. A command line says whatever
  ///   its user likes
  /// @param policy what is done about them; empty when its file is not valid
  /// @return empty when none is outdated
  static Optional<String> of(JsonNode answer, Set<Integer> own, Optional<Policy> policy) {
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
    Set<String> except = policy.map(Policy::except).orElse(Set.of());
    List<JsonNode> meant =
        old.stream().filter(guest -> !except.contains(guest.path("name").asString(""))).toList();
    String command =
        policy
            .map(it -> command(it, guests, old, meant))
            .orElse("the policy is not valid: " + CHECK);
    return Optional.of(
        counted(old.size(), "guest")
            + " an older QEMU"
            + excepted(old.size() - meant.size(), old.size())
            + rest
            + "; "
            + command);
  }

  private static String excepted(int count, int all) {
    if (count == 0) {
      return "";
    }
    return (count == all ? "" : ", " + count + " of them") + " as the policy's exceptions";
  }

  private static String counted(int count, String what) {
    return count == 1 ? "1 " + what + " runs" : count + " " + what + "s run";
  }

  /// A policy that moves guests does it with canaries and in its window.
  ///
  /// @param meant those of the old ones that are no exceptions
  private static String command(
      Policy policy, List<JsonNode> guests, List<JsonNode> old, List<JsonNode> meant) {
    if (meant.isEmpty()) {
      return OUTDATED;
    }
    return policy.action() == Policy.Action.REPLACE ? APPLY : command(guests, old, meant);
  }

  /// `--all` would also take guests back that are further than what is installed, and move
  /// exceptions.
  private static String command(List<JsonNode> guests, List<JsonNode> old, List<JsonNode> meant) {
    Set<String> to =
        meant.stream().map(guest -> guest.path("to").asString("")).collect(Collectors.toSet());
    if (to.size() != 1 || to.contains("")) {
      return OUTDATED;
    }
    boolean isAll = meant.size() == old.size();
    if (isAll && guests.stream().allMatch(guest -> isOutdated(guest) || isThere(guest, old))) {
      return "hyperfresh replace --all --to " + to.iterator().next();
    }
    if (meant.size() > MOST_NAMES) {
      return isAll ? OUTDATED : APPLY;
    }
    return meant.stream()
        .map(guest -> guest.path("name").asString())
        .collect(Collectors.joining(" ", "hyperfresh replace ", " --to " + to.iterator().next()));
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
