package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.Supplier;

/// Where guests can run, found by name: in a machine that is there, or on an installed release of a
/// kind on which guests run. Nothing is concluded from how a name looks. Thread-safe.
///
/// @param machines those that are there now
/// @param stopped whether a machine of a name is stopped
/// @param coming whether a machine of a name is being started, since the host has booted
/// @param kinds the installed releases
record Destinations(
    Supplier<? extends List<? extends Release>> machines,
    Predicate<String> stopped,
    Predicate<String> coming,
    ReleaseKinds kinds) {
  /// What `name` means where a guest is to run.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], also for a release on which no guest
  ///   runs, and for a machine that is stopped; it says what was found instead.
  ///   [Problem#MACHINE_COMING] for a machine that is not up yet
  Release named(String name) {
    if (coming.test(name)) {
      throw Problem.MACHINE_COMING.because(
          "Machine " + name + " is being started, since the host has booted.");
    }
    if (stopped.test(name)) {
      throw Problem.RELEASE_UNKNOWN.because(
          "Machine " + name + " is stopped; `hyperfresh machine start " + name + "` starts it.");
    }
    List<? extends Release> here = machines.get();
    Optional<Release> machine =
        here.stream().filter(one -> one.name().equals(name)).map(Release.class::cast).findFirst();
    return machine
        .or(() -> kinds.toRun(name))
        .orElseThrow(() -> here.isEmpty() ? kinds.unknown(name) : unknown(name, here));
  }

  /// What a file of the daemon calls by its full name, and nothing else that is called alike.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], [Problem#MACHINE_COMING]
  Release recorded(String full) {
    Release found = named(full);
    if (!found.name().equals(full)) {
      throw Problem.RELEASE_UNKNOWN.because("'" + full + "' is no longer installed.");
    }
    return found;
  }

  /// The full names of all where `name` means that guests run: a machine, or all builds of a
  /// series.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN] when there is none
  Set<String> all(String name) {
    boolean machine = machines.get().stream().anyMatch(one -> one.name().equals(name));
    Set<String> all = machine ? Set.of(name) : Set.copyOf(kinds.all(name));
    return all.isEmpty() ? Set.of(named(name).name()) : all;
  }

  private HyperFreshException unknown(String name, List<? extends Release> here) {
    return Problem.RELEASE_UNKNOWN.because(
        "'"
            + name
            + "' is neither a machine nor an installed release; machines: "
            + String.join(", ", here.stream().map(Release::name).toList())
            + "; releases: "
            + String.join(", ", kinds.names())
            + ".");
  }
}
