package dev.hyperfresh.host;

import java.time.Instant;

/// A program file as it was when it was looked at. Immutable.
///
/// @param key the file system and the number of the file in it: the same for the same file only
/// @param changedAt when it got its content or its name; of an installed file the time of its
///   installation (`ctime`)
/// @param buildId by its own bytes, in hexadecimal digits; empty when it has none
/// @param text what it says of its version; empty when it says nothing
public record ProgramFile(Object key, Instant changedAt, String buildId, String text) {
  /// Whether both are one file, or copies of one build.
  public boolean isSameBuild(ProgramFile other) {
    return key.equals(other.key) || (!buildId.isEmpty() && buildId.equals(other.buildId));
  }
}
