package dev.hyperfresh.host;

import java.util.List;

/// What [NestingProfile#undo] did.
///
/// @param changed the settings that hold their old values again
/// @param left one sentence for each setting that somebody changed since, and that was left alone
public record Undone(List<Change> changed, List<String> left) {
  /// Keeps copies.
  public Undone {
    changed = List.copyOf(changed);
    left = List.copyOf(left);
  }
}
