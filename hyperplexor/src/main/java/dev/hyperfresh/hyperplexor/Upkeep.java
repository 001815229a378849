package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.linux.Host;
import java.util.Optional;

/// What is written down of a guest for its later starts. Immutable.
///
/// @param autostart whether it is started when the host has booted
/// @param restarts how often it was started in this boot of the host without anybody asking for it,
///   in a row and without having run well
/// @param boot the boot of the host in which it was looked after last, as [Host#bootId] has it
/// @param next what its next start is to make of it; empty when that is what it was
record Upkeep(boolean autostart, int restarts, String boot, Optional<Next> next) {
  /// A guest that was edited, or was never started: nothing of it is pinned yet.
  ///
  /// @param release where it starts; empty to start it where it ran last
  record Next(GuestSpec spec, Optional<String> release) {}

  /// Of a guest that is made now.
  static Upkeep begun(Optional<Next> next) {
    return new Upkeep(false, 0, Host.bootId(), next);
  }

  /// The same, looked after in this boot of the host.
  Upkeep here() {
    return new Upkeep(autostart, restarts, Host.bootId(), next);
  }

  Upkeep autostart(boolean on) {
    return new Upkeep(on, restarts, Host.bootId(), next);
  }

  Upkeep restarts(int inARow) {
    return new Upkeep(autostart, inARow, boot, next);
  }

  Upkeep next(Optional<Next> other) {
    return new Upkeep(autostart, restarts, boot, other);
  }

  /// Whether the host has booted since, and the guest is to be started then.
  boolean isDue() {
    return autostart && !boot.equals(Host.bootId());
  }
}
