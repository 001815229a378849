package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.PruneRule;
import dev.hyperfresh.qemu.QemuReleases;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import tools.jackson.databind.JsonNode;

/// The installed releases of all kinds. What comes and goes is announced. Thread-safe.
///
/// @param kinds in the order in which a name is looked up among them
/// @param leases of what is being started
/// @param events where it is published what is added and removed
record ReleaseKinds(List<ReleaseKind> kinds, ReleaseLeases leases, Events events) {
  ReleaseKinds {
    kinds = List.copyOf(kinds);
  }

  /// The kind of the installed release that `name` means.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  ReleaseKind of(String name) {
    return kinds.stream()
        .filter(kind -> kind.has(name))
        .findFirst()
        .orElseThrow(() -> unknown(name));
  }

  /// The installed release that `name` means, for a guest to run on; empty when there is none.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN] when no guest runs on it
  Optional<Release> toRun(String name) {
    // Asking for this host's own QEMU may add it.
    return name.equals(QemuReleases.INSTALLED)
        ? Optional.of(adding(() -> find(name).orElseThrow(() -> unknown(name)), Release::name))
        : find(name);
  }

  private Optional<Release> find(String name) {
    return kinds.stream().map(kind -> kind.toRun(name)).flatMap(Optional::stream).findFirst();
  }

  /// The full names of all releases that `name` means.
  List<String> all(String name) {
    return kinds.stream().flatMap(kind -> kind.all(name).stream()).toList();
  }

  /// That there is no release of that name, and which there are.
  HyperFreshException unknown(String name) {
    List<String> names = names();
    return Problem.RELEASE_UNKNOWN.because(
        "'"
            + name
            + "' is not installed; installed: "
            + (names.isEmpty() ? "none" : String.join(", ", names))
            + ".");
  }

  /// The full names of all of all kinds.
  List<String> names() {
    return kinds.stream().flatMap(kind -> kind.names().stream()).toList();
  }

  /// All of all kinds.
  List<Map<String, Object>> list() {
    return kinds.stream().flatMap(kind -> kind.list().stream()).toList();
  }

  /// Brings what a request asks for.
  ///
  /// @throws HyperFreshException [Problem#API_REQUEST], and as [ReleaseKind#add]
  Map<String, Object> add(Job job) {
    ReleaseKind kind = askedFor(job.body());
    return adding(() -> kind.add(job), added -> String.valueOf(added.get("name")));
  }

  private ReleaseKind askedFor(JsonNode body) {
    List<ReleaseKind> asked = kinds.stream().filter(kind -> kind.isAskedFor(body)).toList();
    if (asked.size() != 1) {
      throw Problem.API_REQUEST.because(
          "The request needs 'name', 'path', 'from', or 'kernel' with one of 'qemu' and 'userland'.");
    }
    return asked.getFirst();
  }

  /// Does what may install a release, and announces that, unless it was here already.
  ///
  /// @param add gives the release, installed
  /// @param name its full name
  <R> R adding(Supplier<R> add, Function<? super R, String> name) {
    Set<String> before = Set.copyOf(names());
    R added = add.get();
    if (!before.contains(name.apply(added))) {
      events.publish(new Event.ReleaseChanged(name.apply(added), true));
    }
    return added;
  }

  /// What a pruning did.
  ///
  /// @param removed the full names of those that are gone, or would be
  /// @param kept why each of the others is kept, by its full name
  record Pruned(List<String> removed, Map<String, String> kept) {}

  /// Removes every release that the rule gives up and nothing uses.
  ///
  /// @param days how long one is kept whatever it is
  /// @param dry whether it is only said what would be done
  Pruned prune(int days, boolean dry) {
    List<String> removed = new ArrayList<>();
    Map<String, String> kept = new LinkedHashMap<>();
    for (ReleaseKind kind : kinds) {
      for (PruneRule.Verdict verdict : kind.prunable(days)) {
        String why = verdict.kept().isEmpty() ? usedBy(kind, verdict.name(), dry) : verdict.kept();
        if (why.isEmpty()) {
          removed.add(verdict.name());
        } else {
          kept.put(verdict.name(), why);
        }
      }
    }
    return new Pruned(removed, kept);
  }

  /// Removes one, or finds out whether it could be.
  ///
  /// @return who uses it, a sentence; empty when it is gone, or could be
  private String usedBy(ReleaseKind kind, String full, boolean dry) {
    try {
      if (dry) {
        leases.remove(() -> full, kind::requireUnused);
      } else {
        remove(kind, full);
      }
      return "";
    } catch (HyperFreshException e) {
      return switch (e.problem()) {
        case RELEASE_IN_USE -> e.detail();
        // Somebody else has removed it.
        case RELEASE_UNKNOWN -> "";
        default -> throw e;
      };
    }
  }

  /// Removes one that nothing runs and on which nothing is being started.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE], [Problem#RELEASE_UNKNOWN]
  void remove(String name) {
    ReleaseKind kind = of(name);
    remove(kind, kind.fullName(name));
  }

  /// Another build is no substitute for one that was removed meanwhile.
  private static String exactly(ReleaseKind kind, String full) {
    if (!kind.fullName(full).equals(full)) {
      throw Problem.RELEASE_UNKNOWN.because("'" + full + "' is no longer installed.");
    }
    return full;
  }

  private void remove(ReleaseKind kind, String full) {
    leases.remove(() -> exactly(kind, full), kind::remove);
    events.publish(new Event.ReleaseChanged(full, false));
  }
}
