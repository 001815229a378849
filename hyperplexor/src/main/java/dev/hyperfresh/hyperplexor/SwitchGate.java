package dev.hyperfresh.hyperplexor;

import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;

/// Lets only so many guests of a host be between the order to hand over and its end at a time, in
/// the order in which they came. Guests are prepared in parallel, but two that switch at once on
/// the same cores lengthen each other's blackout.
///
/// A guest waits here before its order is out, so it runs while it waits; leaving never blocks.
final class SwitchGate {
  private static final int FEW_CORES = 4;

  private final Semaphore places;

  /// The right to switch.
  interface Pass {
    /// Gives it back; only the first call does anything.
    void leave();
  }

  /// @param most how many may switch at a time, at least 1
  SwitchGate(int most) {
    if (most < 1) {
      throw new IllegalArgumentException("no guest could ever switch through a gate for " + most);
    }
    this.places = new Semaphore(most, true);
  }

  /// As many as leave each switch two cores: one for the hypervisor that stops, and one for the
  /// hypervisor that goes on.
  static SwitchGate forCores(int cores) {
    return new SwitchGate(cores < FEW_CORES ? 1 : cores / 2);
  }

  /// Waits for a place.
  Pass enter() throws InterruptedException {
    places.acquire();
    AtomicBoolean inside = new AtomicBoolean(true);
    return () -> {
      if (inside.compareAndSet(true, false)) {
        places.release();
      }
    };
  }

  /// How many could enter now.
  int free() {
    return places.availablePermits();
  }
}
