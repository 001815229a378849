package dev.hyperfresh.relocation;

import java.time.Instant;
import java.util.OptionalDouble;

/// Where a move stands. What is written down, the documentation and [Relocation] use these names.
///
/// ```
/// Preparing ──▶ Switching ═══▶ Committed ──▶ Retired
///     │             │  │           │
///     │             │  └───────────┴──────▶ Clearing ──▶ Ended, Lost
///     └─────────────┴──▶ Undoing ─────────▶ RolledBack
///                   │       ▲
///                   └▶ Doubt┘
/// ```
///
/// The double arrow is the word `run`: before it the old OS has the container, after it the new
/// one. One that was told to run, and of which the new OS cannot be asked any more, never goes on
/// in the old one.
sealed interface MoveState {
  /// The container runs in the old OS.
  record Preparing() implements MoveState {}

  /// It is about to stand, or stands.
  ///
  /// @param told whether it may have been told to run in the new OS
  record Switching(Told told) implements MoveState {}

  /// Whether a container was told to run in the new OS.
  enum Told {
    NO,
    YES,
    /// A daemon that has died may have told it.
    UNKNOWN
  }

  /// It is the old OS's, and is taken back there.
  ///
  /// @param why the move failed
  record Undoing(String why) implements MoveState {}

  /// It runs in the new OS; a part of its memory is still in the old one.
  ///
  /// @param pid its first process there
  /// @param frozenMs how long it stood, milliseconds; empty when nobody saw it
  record Committed(int pid, OptionalDouble frozenMs) implements MoveState {}

  /// It stands in the old OS, and may have run in the new one, which is gone: only an explicit
  /// order has it go on.
  record Doubt() implements MoveState {}

  /// No OS goes on with it; what is left of it is removed.
  ///
  /// @param end [Ended] or [Lost]
  record Clearing(Over end) implements MoveState {}

  /// How a move ended. Nothing is left to be done.
  sealed interface Over extends MoveState {}

  /// It runs in the new OS with all of its memory.
  record Retired(OptionalDouble frozenMs) implements Over {}

  /// It runs in the old OS as before.
  record RolledBack(String why) implements Over {}

  /// It ran in the new OS and ended there.
  ///
  /// @param why the move did not come to another end
  /// @param how it ended, as far as anybody has seen it
  record Ended(String why, ContainerState.Ended how) implements Over {
    /// Of an end that nobody has seen.
    static Ended unseen(String why) {
      return new Ended(why, ContainerState.Ended.unknown(Instant.now(), ""));
    }
  }

  /// No OS has it.
  record Lost(String why) implements Over {
    /// How the container ended, of which what was left was killed.
    ContainerState.Ended how() {
      return ContainerState.Ended.unknown(Instant.now(), "it was lost in a move: " + why);
    }
  }
}
