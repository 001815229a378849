package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import java.util.OptionalLong;

/// Where a replacement stands. The journal, the documentation and [Replacement] use these names.
///
/// ```
/// Planned ──▶ Prepared ──▶ Switching ──▶ Committed ──▶ Retired
///    │           │             │
///    └───────────┴─────────────┴──▶ RolledBack        (Failed: neither side runs the guest)
/// ```
sealed interface ReplacementState {
  /// Nothing is touched; no obstacle is known.
  record Planned() implements ReplacementState {}

  /// The target waits for the guest's state; the guest runs on the source.
  record Prepared(Instance target) implements ReplacementState {}

  /// The source has been told to hand over; until the target resumes the source is the authority.
  record Switching(Instance target) implements ReplacementState {}

  /// The target runs the guest and is its authority; the source is never continued.
  ///
  /// @param resumedMicros when the target resumed it, its own wall clock; empty when its report was
  ///   lost
  record Committed(Instance target, OptionalLong resumedMicros) implements ReplacementState {}

  /// The source is gone; the replacement is over.
  record Retired(ReplacementRecord record) implements ReplacementState {}

  /// The source has the guest as before: it runs, or stands until it may go on.
  record RolledBack(HyperFreshException reason) implements ReplacementState {}

  /// Neither runs the guest.
  record Failed(HyperFreshException reason) implements ReplacementState {}
}
