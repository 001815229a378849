package dev.hyperfresh.qemu;

/// How a [Rehearsal] ended.
sealed interface Rehearsed {
  /// The target has the twin's state.
  ///
  /// @param note what was not as in earnest, to be put behind the name of the twin, or empty
  record Passed(long millis, String note) implements Rehearsed {}

  /// The target does not take the twin's state.
  record Rejected(String sentence) implements Rehearsed {}

  /// It did not end within [Rehearsal#LIMIT].
  record TooSlow(String sentence) implements Rehearsed {}

  /// It says nothing of the target.
  record Impossible(String reason) implements Rehearsed {}
}
