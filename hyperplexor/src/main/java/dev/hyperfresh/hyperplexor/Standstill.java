package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.OptionalLong;

/// Since when a guest's vCPUs stand, and what its clocks have lost by that. Times are those of the
/// host's wall clock, microseconds since 1970. For the guest's thread.
final class Standstill {
  private ClockLoss lost;

  /// When the vCPUs stopped that stand now, if they do.
  private OptionalLong stoppedMicros = OptionalLong.empty();

  /// @param before what was lost under earlier daemons
  Standstill(ClockLoss before) {
    this.lost = before;
  }

  /// What the clocks have lost so far, without what is lost now.
  ClockLoss lost() {
    return lost;
  }

  /// As [Movable#stood].
  void stood(OptionalLong stopped, OptionalLong resumed) {
    if (resumed.isEmpty()) {
      stoppedMicros = stopped;
      return;
    }
    lost =
        stopped.isPresent()
            ? lost.plus(resumed.getAsLong() - stopped.getAsLong())
            : lost.plusUnmeasured();
    stoppedMicros = OptionalLong.empty();
  }

  /// As [#stood], by what an instance reported.
  ///
  /// @return whether anything was counted: a RESUME whose STOP nobody saw was counted when its
  ///   instance was taken over
  boolean heard(InstanceEvent event) {
    if (event instanceof InstanceEvent.Stopped stop) {
      stood(OptionalLong.of(stop.atMicros()), OptionalLong.empty());
    }
    if (!(event instanceof InstanceEvent.Resumed resumed)
        || stoppedMicros.isEmpty()
        || resumed.atMicros().isEmpty()) {
      return false;
    }
    stood(stoppedMicros, resumed.atMicros());
    return true;
  }
}
