package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;

/// Where a replacement stands, with all that is known from there on. The journal, the documentation
/// and [Replacement] use these names.
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

  /// The order to hand over is out, or about to be; until the target resumes the source is the
  /// authority.
  ///
  /// @param reports what both sides have told since the order
  record Switching(Instance target, Reports reports) implements ReplacementState {}

  /// The target runs the guest and is its authority; the source is never continued.
  ///
  /// @param reports what both sides told until then
  /// @param resumedMicros when the target resumed it, its own wall clock; empty when its report was
  ///   lost
  record Committed(Instance target, Reports reports, OptionalLong resumedMicros)
      implements ReplacementState {}

  /// The replacement is over, and the source is gone unless it could not be ended.
  ///
  /// @param kept what was reported and is the guest's own affair, for [Movable#heard]
  /// @param asked what the guest asked of its source, too late for that
  /// @param undead a source that could not be ended
  record Retired(
      ReplacementRecord record,
      List<InstanceEvent> kept,
      Optional<InstanceEvent> asked,
      Optional<Instance> undead)
      implements ReplacementState {}

  /// The source has the guest as before: it runs, or stands until it may go on.
  ///
  /// @param kept as in [Retired]
  /// @param undead a target that could not be ended; where the reason is that the guest stands, the
  ///   source waits for its end
  record RolledBack(HyperFreshException reason, List<InstanceEvent> kept, Optional<Instance> undead)
      implements ReplacementState {}

  /// Neither runs the guest.
  ///
  /// @param kept as in [Retired]
  record Failed(HyperFreshException reason, List<InstanceEvent> kept) implements ReplacementState {}

  /// The state's name, in the journal and in lines of progress.
  default String name() {
    return getClass().getSimpleName();
  }
}
