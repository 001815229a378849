package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;

/// Finds the kind that a release is of. The first is that of every name with which no other begins.
///
/// @param kinds at least one
/// @param leases of what is being started
record ReleaseKinds(List<ReleaseKind> kinds, ReleaseLeases leases) {
  ReleaseKinds {
    kinds = List.copyOf(kinds);
  }

  /// The kind of the release called `name`, whether there is one or not.
  ReleaseKind of(String name) {
    return kinds.stream()
        .filter(kind -> name.startsWith(kind.prefix()))
        .findFirst()
        .orElseGet(kinds::getFirst);
  }

  /// The kind that a request for a new one asks for.
  ///
  /// @throws HyperFreshException [Problem#API_REQUEST]
  ReleaseKind askedFor(JsonNode body) {
    List<ReleaseKind> asked = kinds.stream().filter(kind -> kind.isAskedFor(body)).toList();
    if (asked.size() != 1) {
      throw Problem.API_REQUEST.because(
          "The request needs 'name', 'path', or 'kernel' with one of 'qemu' and 'userland'.");
    }
    return asked.getFirst();
  }

  /// All of all kinds.
  List<Map<String, Object>> list() {
    return kinds.stream().flatMap(kind -> kind.list().stream()).toList();
  }

  /// Removes one that nothing runs and on which nothing is being started.
  ///
  /// @return its full name
  /// @throws HyperFreshException [Problem#RELEASE_IN_USE], [Problem#RELEASE_UNKNOWN]
  String remove(String name) {
    ReleaseKind kind = of(name);
    String full = kind.fullName(name);
    leases.remove(() -> kind.fullName(full), kind::remove);
    return full;
  }
}
