package dev.hyperfresh.daemon;

import java.util.Locale;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/// What a user may ask of the daemon; each role may do all that the ones before it may.
enum Role {
  /// Reads, and plans, which change nothing.
  VIEWER,
  /// Also replaces hypervisors and operating systems, stops guests and containers, and reads what
  /// containers write.
  OPERATOR,
  /// Everything.
  ADMIN;

  // Segments without an escape: whatever is spelled in another way needs the highest role.
  private static final String NAME = "[A-Za-z0-9._-]+";
  private static final Pattern PLAN = Pattern.compile("/v1/(guests/" + NAME + "|rollouts)/plan");
  private static final Pattern OPERATION =
      Pattern.compile(
          "/v1/(guests/"
              + NAME
              + "/(stop|resume|replacements)|(machines|os)/"
              + NAME
              + "/replacements|containers/"
              + NAME
              + "/(stop|relocations)|rollouts)");

  /// What a container writes may be anybody's secret.
  private static final Pattern LOG = Pattern.compile("/v1/containers/.*/log.*");

  /// The word in the file of roles.
  String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  static Optional<Role> labelled(String label) {
    return Stream.of(values()).filter(role -> role.label().equals(label)).findFirst();
  }

  /// The role that a request needs. What is not listed here changes something, so it needs the
  /// highest.
  ///
  /// @param path as it was sent, without the query
  static Role needed(String method, String path) {
    if (path.startsWith("/v1/audit")) {
      return ADMIN;
    }
    if (LOG.matcher(path).matches()) {
      return OPERATOR;
    }
    if (method.equals("GET") || method.equals("HEAD") || PLAN.matcher(path).matches()) {
      return VIEWER;
    }
    return method.equals("POST") && OPERATION.matcher(path).matches() ? OPERATOR : ADMIN;
  }

  /// Whether a request may change something when its role allows it.
  static boolean changes(String method, String path) {
    return needed(method, path) != VIEWER && !method.equals("GET") && !method.equals("HEAD");
  }
}
