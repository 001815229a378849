package dev.hyperfresh.daemon;

import io.helidon.http.Method;
import io.helidon.webserver.http.Handler;
import java.util.List;
import java.util.Optional;

/// One thing that the API can be asked for.
///
/// @param path what the path looks like: words, and [#NAME] for the one name that it may have, such
///   as `/v1/guests/{name}/stop`
/// @param role the least that may ask
/// @param audited whether each such request is written into the audit, whatever comes of it; one
///   that is refused always is
/// @param summary what it does, a sentence
/// @param fields that the body of a request may have
/// @param handler answers; nobody without the role reaches it
record Route(
    Method method,
    String path,
    Role role,
    boolean audited,
    String summary,
    List<String> fields,
    Handler handler) {
  /// The segment that stands for a name.
  static final String NAME = "{name}";

  /// For what changes nothing.
  static Route reading(Method method, String path, Role role, String summary, Handler handler) {
    return new Route(method, path, role, false, summary, List.of(), handler);
  }

  /// For what changes something.
  static Route changing(Method method, String path, Role role, String summary, Handler handler) {
    return new Route(method, path, role, true, summary, List.of(), handler);
  }

  /// The same for which another handler answers.
  Route with(Handler other) {
    return new Route(method, path, role, audited, summary, fields, other);
  }

  /// The same whose requests have a body with these fields.
  Route taking(String... names) {
    return new Route(method, path, role, audited, summary, List.of(names), handler);
  }

  List<String> segments() {
    return List.of(path.substring(1).split("/"));
  }

  /// The name in `path`, empty when such a path has none; nothing when `path` is not one of this
  /// route.
  Optional<String> match(List<String> asked) {
    List<String> own = segments();
    if (own.size() != asked.size()) {
      return Optional.empty();
    }
    String name = "";
    for (int i = 0; i < own.size(); i++) {
      if (own.get(i).equals(NAME)) {
        name = asked.get(i);
      } else if (!own.get(i).equals(asked.get(i))) {
        return Optional.empty();
      }
    }
    return Optional.of(name);
  }

  /// Whether some path is one of both.
  boolean overlaps(Route other) {
    List<String> own = segments();
    List<String> others = other.segments();
    if (own.size() != others.size()) {
      return false;
    }
    for (int i = 0; i < own.size(); i++) {
      boolean free = own.get(i).equals(NAME) || others.get(i).equals(NAME);
      if (!free && !own.get(i).equals(others.get(i))) {
        return false;
      }
    }
    return true;
  }
}
