package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.ClockStep;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.ClockPolicy;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Supplier;

/// What is done to a guest's wall clock after a replacement. Immutable.
record WallClock(GuestSpec spec) {
  /// Whether the wall clock is set after a replacement for which that was `asked` or not.
  boolean steps(boolean asked) {
    return asked || spec.clock() == ClockPolicy.STEP;
  }

  /// The guest has moved, whatever comes of this.
  ///
  /// @param running what runs the guest, which may have ended since; asked here alone
  ReplacementRecord.Clocks step(
      Supplier<Instance> running, ReplacementRecord.Clocks clocks, Progress progress) {
    try {
      ClockStep step = running.get().stepClock();
      Contained.run(
          "reporting the clock of " + spec.name(),
          () ->
              progress.step(
                  "Clock",
                  String.format(
                      Locale.ROOT, "the wall clock was set forward by %.1f ms", step.millis())));
      return new ReplacementRecord.Clocks(
          clocks.lostMs(), OptionalDouble.of(step.millis()), step.remark());
    } catch (HyperFreshException e) {
      return new ReplacementRecord.Clocks(clocks.lostMs(), OptionalDouble.empty(), e.detail());
    } catch (RuntimeException e) {
      // The guest has moved, whatever becomes of its clock.
      return new ReplacementRecord.Clocks(
          clocks.lostMs(), OptionalDouble.empty(), String.valueOf(e));
    }
  }

  /// Any thread: what can be said before a replacement of setting the wall clock after it; empty
  /// when that is not to be done.
  Optional<Check> check(Instance running, boolean asked) {
    if (!steps(asked)) {
      return Optional.empty();
    }
    return Optional.of(
        running.hasAgent()
            ? Check.pass("wall clock", "The guest has a channel to an agent that can set it.")
            : Check.unknown(
                "wall clock",
                "It cannot be set after the move: the guest has no channel to an agent.",
                "Move without --step-clock, or create the guest again with agent: true."));
  }
}
