package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/// The installed releases of one kind, as the API shows, brings and removes them.
interface ReleaseKind {
  /// With what their names begin.
  String prefix();

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
