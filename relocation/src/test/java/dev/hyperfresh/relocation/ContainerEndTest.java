package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.relocation.SimulatedEnd.Fault;
import dev.hyperfresh.relocation.SimulatedEnd.Planned;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/// The end of a container with every fault at every step, and with any two of them.
class ContainerEndTest {
  private static final int STEPS = 8;

  private static List<Planned> faults() {
    List<Planned> faults = new ArrayList<>();
    for (int step = 0; step < STEPS; step++) {
      for (Fault fault : Fault.values()) {
        faults.add(new Planned(step, fault));
      }
    }
    return faults;
  }

  private static void holds(List<Planned> faults) {
    SimulatedEnd end = new SimulatedEnd(faults);
    try {
      var _ = end.run();
    } catch (RuntimeException | AssertionError e) {
      throw new AssertionError(
          faults + ": " + e.getMessage() + "\n" + String.join("\n", end.trace()), e);
    }
  }

  @Test
  void aLifeEndsWhenNothingOfTheContainerIsLeft() {
    holds(List.of());
    faults().forEach(fault -> holds(List.of(fault)));
    for (Planned first : faults()) {
      faults().forEach(second -> holds(List.of(first, second)));
    }
  }

  /// A job that has done its work must not be started again.
  @Test
  void howItEndedOutlivesTheDaemonThatKnowsIt() {
    for (Planned fault : faults()) {
      assertThat(new SimulatedEnd(List.of(fault)).run())
          .as("%s", fault)
          .isEqualTo(SimulatedEnd.HOW);
    }
  }
}
