package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/// The kinds of hypervisor that a daemon knows, and which of them a release or an instance is of.
/// Immutable.
public final class Kinds {
  private final Hypervisor first;
  private final Map<String, Hypervisor> kinds = new LinkedHashMap<>();

  /// @param first the kind of what was written down before there were several
  public Kinds(Hypervisor first, Hypervisor... others) {
    this.first = first;
    kinds.put(first.kind(), first);
    for (Hypervisor other : others) {
      kinds.put(other.kind(), other);
    }
  }

  /// Whether guests can be started on `release` here.
  public boolean has(Release release) {
    return kinds.containsKey(release.kind());
  }

  /// The kind of a release.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN] when there is no such kind
  public Hypervisor of(Release release) {
    Hypervisor kind = kinds.get(release.kind());
    if (kind == null) {
      throw Problem.RELEASE_UNKNOWN.because(
          release.name() + " is of kind " + release.kind() + ", which does not exist here.");
    }
    return kind;
  }

  /// The kind of an instance of an earlier daemon.
  public Hypervisor of(Reattacher.Survivor instance) {
    return named(instance.kind());
  }

  /// The kind called `name`; the first one where there is none of that name.
  public Hypervisor named(String name) {
    return kinds.getOrDefault(name, first);
  }

  /// All of them.
  public List<Hypervisor> all() {
    return List.copyOf(kinds.values());
  }

  /// What takes over guests that something else started.
  ///
  /// @throws HyperFreshException [Problem#ADOPT_REFUSED] when no kind can
  public Adopter adopter() {
    return kinds.values().stream()
        .flatMap(kind -> kind.adopter().stream())
        .findFirst()
        .orElseThrow(
            () -> Problem.ADOPT_REFUSED.because("No kind of hypervisor here can adopt a guest."));
  }

  /// As [Reattacher#hasRun], of whatever kind the instance was.
  public Optional<Boolean> hasRun(Path files, int generation) {
    return kinds.values().stream()
        .flatMap(kind -> kind.hasRun(files, generation).stream())
        .findFirst();
  }
}
