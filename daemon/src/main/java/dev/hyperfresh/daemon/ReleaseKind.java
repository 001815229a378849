package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.qemu.PruneRule;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// The installed releases of one kind, as the API shows, brings and removes them.
interface ReleaseKind {
  /// The full names of all of them.
  List<String> names();

  /// Whether `name` is the full name of one of them, or another name that releases of this kind can
  /// have.
  boolean has(String name);

  /// The one that `name` means, for a guest to run on; empty when there is none.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN] when there is one and no guest runs on
  ///   releases of this kind; it says what is done with them instead
  Optional<Release> toRun(String name);

  /// The full names of all that `name` means, such as every build of a series; none when there is
  /// none for guests to run on.
  default List<String> all(String name) {
    return toRun(name).map(Release::name).stream().toList();
  }

  /// All of them.
  List<Map<String, Object>> list();

  /// One, with all that is known of it.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  Map<String, Object> show(String name);

  /// Compares the files of one with what was installed.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN], [Problem#RELEASE_DAMAGED]
  Map<String, Object> verify(String name);

  /// Whether the body of a request asks for one of this kind.
  boolean isAskedFor(JsonNode body);

  /// Brings one.
  Map<String, Object> add(Job job);

  /// The full name of one.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN]
  String fullName(String name);

  /// What the rule of pruning says of each; nothing of a kind to which it does not apply.
  ///
  /// @param days how long one is kept whatever it is
  default List<PruneRule.Verdict> prunable(int days) {
    return List.of();
  }

  /// Refuses what [#remove] would refuse. A kind to which pruning does not apply is never asked.
  ///
  /// @param full its full name
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE]
  default void requireUnused(String full) {}

  /// Removes one that nothing runs. Nothing is being started on it.
  ///
  /// @param full its full name
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE]
  void remove(String full);
}
