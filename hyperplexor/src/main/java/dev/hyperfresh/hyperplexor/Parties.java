package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import dev.hyperfresh.hypervisor.Release;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/// Who takes part in one replacement, the world in which it happens, and who hears of it. Known
/// from its beginning, and the same to its end; for the guest's thread.
///
/// @param id unique among the replacements of a state directory
/// @param source the instance that has the guest until the target resumes it
/// @param to the target's release
/// @param toGeneration the target's generation; there may be no target yet
/// @param world time, priorities and the journal
/// @param progress throws nothing but that nobody wants it any more
/// @param copy how the guest's memory is copied; empty when both map it
record Parties(
    String id,
    Movable guest,
    Instance source,
    Release to,
    int toGeneration,
    Surroundings world,
    Progress progress,
    Optional<CopyOrder> copy) {
  private static final Duration END_LIMIT = Duration.ofSeconds(5);

  boolean isOfSource(InstanceEvent event) {
    return event.generation() == source.generation();
  }

  boolean isOfTarget(InstanceEvent event) {
    return event.generation() == toGeneration;
  }

  boolean isOurs(InstanceEvent event) {
    return isOfSource(event) || isOfTarget(event);
  }

  /// Which of the two reported an event, as a sentence begins.
  String side(InstanceEvent event) {
    return isOfSource(event) ? source.release().name() + " (source): " : to.name() + " (target): ";
  }

  /// Takes the oldest event, or waits for one.
  ///
  /// @param deadline by [Surroundings#nanos]
  /// @return null when none came until then
  @Nullable InstanceEvent next(long deadline) {
    return guest.await(Math.max(0, deadline - world.nanos()));
  }

  /// Milliseconds since `nanos` of [Surroundings#nanos].
  double millisSince(long nanos) {
    return (world.nanos() - nanos) / 1e6;
  }

  /// Has the source end in an orderly way.
  ///
  /// @return whether that can be relied on
  boolean endSource() {
    return Contained.run("ending the source of " + id, () -> source.end(END_LIMIT));
  }

  /// Writes a state to the journal, and returns when it is on disk.
  void write(ReplacementState state) {
    world.write(
        new Journal.Entry(
            Instant.now(),
            id,
            guest.spec().name(),
            state.name(),
            source.generation(),
            toGeneration,
            to.name()));
  }
}
