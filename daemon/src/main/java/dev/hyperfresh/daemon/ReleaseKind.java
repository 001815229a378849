package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Release;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import tools.jackson.databind.JsonNode;

/// The installed releases of one kind, as the API shows, brings and removes them.
interface ReleaseKind {
  /// The full names of all of them.
  List<String> names();

  /// Whether `name` is the full name of one of them, or of a series that one is of.
  boolean has(String name);

  /// The one that `name` means, for a guest to run on; empty when there is none.
  ///
  /// @throws HyperFreshException [Problem#RELEASE_UNKNOWN] when there is one and no guest runs on
  ///   releases of this kind; it says what is done with them instead
  Optional<Release> toRun(String name);

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

  /// Removes one that nothing runs. Nothing is being started on it.
  ///
  /// @param full its full name
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE]
  void remove(String full);
}
