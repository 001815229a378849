package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;

/// What a guest's run state says of moving it: a row of the plan, and the last look before the
/// switch.
final class RunStateCheck {
  private static final String ROW = "run state";

  private RunStateCheck() {}

  static Check of(RunState state, Release from, Release to) {
    return switch (state.move()) {
      case MOVES -> Check.pass(ROW, "The guest is " + state.label() + ".");
      case MOVES_WHERE_KEPT -> kept(state, from, to);
      case REFUSED ->
          Check.fail(
              ROW,
              "The guest is " + state.label() + ", and nothing would report its arrival.",
              state.advice());
    };
  }

  private static Check kept(RunState state, Release from, Release to) {
    if (from.keepsSuspended() && to.keepsSuspended()) {
      return Check.pass(
          ROW, "The guest is " + state.label() + " and stays so on " + to.name() + ".");
    }
    Release loses = from.keepsSuspended() ? to : from;
    return Check.fail(
        ROW,
        "The guest is " + state.label() + ", and " + loses.name() + " would not keep it asleep.",
        state.advice() + " Or move it between releases that keep it asleep, such as QEMU 10.0.");
  }
}
