package dev.hyperfresh.relocation;

import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;

/// When which fault happens in a simulated move, from a seed. For one thread.
final class SimulatedFaults {
  /// What happens beside what is asked for.
  enum Fault {
    /// A step is not done, and fails.
    REFUSED,
    /// A step is done, and seems to fail.
    UNHEARD,
    /// A step fails for want of memory in the daemon.
    NO_MEMORY,
    /// The daemon is killed before a step, or after it.
    KILLED,
    KILLED_AFTER,
    /// The daemon ends, and lets go of everything.
    LET_GO,
    /// An OS is gone.
    OLD_DIES,
    NEW_DIES,
    /// An OS says nothing for a while.
    OLD_HANGS,
    NEW_HANGS,
    /// CRIU does not put the container together.
    NO_RESTORE,
    /// The container ends by itself, wherever it runs.
    ENDS,
    /// A page of it cannot be fetched.
    PAGE_LOST,
    /// What is to be written down cannot be.
    DISK_FULL
  }

  private static final List<Fault> ALL = List.of(Fault.values());

  private final SplittableRandom random;
  private int left;

  /// @param left how many there are at most
  SimulatedFaults(SplittableRandom random, int left) {
    this.random = random;
    this.left = left;
  }

  /// What happens at the next step.
  Optional<Fault> next() {
    if (left == 0 || random.nextInt(12) != 0) {
      return Optional.empty();
    }
    left--;
    return Optional.of(ALL.get(random.nextInt(ALL.size())));
  }
}
