package dev.hyperfresh.daemon;

import java.util.Locale;
import java.util.Optional;
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

  /// The word in the file of roles.
  String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  static Optional<Role> labelled(String label) {
    return Stream.of(values()).filter(role -> role.label().equals(label)).findFirst();
  }
}
