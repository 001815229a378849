package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Problem;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// All that the API can be asked for. Which handler answers, which role it needs and whether it is
/// audited are decided by one look into this table, so they cannot differ.
final class Routes {
  /// The longest path. The longest that the table and the names of guests and releases make has
  /// less than half of it.
  static final int MOST_PATH = 256;

  /// A path has one spelling: what could be read in two ways by two readers is refused. No name
  /// needs an escape, and no segment is `.` or `..`.
  private static final Pattern CANONICAL =
      Pattern.compile("(/(?!\\.{1,2}(/|$))[A-Za-z0-9._~+-]+)+|/");

  private final List<Route> all;

  /// A route that was asked for.
  ///
  /// @param name in its path, or empty
  record Match(Route route, String name) {}

  /// @throws IllegalArgumentException when a path is one of two routes of different patterns
  Routes(List<Route> all) {
    this.all = List.copyOf(all);
    for (int i = 0; i < all.size(); i++) {
      for (Route other : all.subList(0, i)) {
        requireDistinct(all.get(i), other);
      }
    }
  }

  private static void requireDistinct(Route one, Route other) {
    boolean same = one.path().equals(other.path());
    if (same ? one.method().equals(other.method()) : one.overlaps(other)) {
      throw new IllegalArgumentException(one + " and " + other + " share a path");
    }
  }

  List<Route> all() {
    return all;
  }

  /// Refuses every spelling of a path but one.
  ///
  /// @param path as it was sent, without the query
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_PATH]
  static void requireCanonical(String path) {
    if (path.length() > MOST_PATH) {
      throw Problem.API_PATH.because("It is longer than " + MOST_PATH + " characters.");
    }
    if (!CANONICAL.matcher(path).matches()) {
      throw Problem.API_PATH.because("'" + path + "' is not such a path.");
    }
  }

  /// The route of a canonical path.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#API_UNKNOWN],
  ///   [Problem#API_METHOD]
  Match find(String method, String path) {
    List<Match> matches = matches(path);
    if (matches.isEmpty()) {
      throw Problem.API_UNKNOWN.because("There is no " + path + ".");
    }
    return matches.stream()
        .filter(match -> match.route().method().text().equals(method))
        .findFirst()
        .orElseThrow(() ->
            Problem.API_METHOD.because(
                path + " has no method " + method + ", only " + allowed(path) + "."));
  }

  /// The methods of a canonical path, as in the header `Allow`.
  String allowed(String path) {
    return matches(path).stream()
        .map(match -> match.route().method().text())
        .collect(Collectors.joining(", "));
  }

  private List<Match> matches(String path) {
    List<String> segments = List.of(path.substring(1).split("/"));
    List<Match> matches = new ArrayList<>();
    for (Route route : all) {
      Optional<String> name = route.match(segments);
      name.ifPresent(found -> matches.add(new Match(route, found)));
    }
    return matches;
  }
}
