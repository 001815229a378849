package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;

/// What a [ContainerEnd] does in the OS and on this host, step by step. It knows nothing of what is
/// behind them, so its simulation is behind them too. For one thread.
///
/// Each may be done again, also when nothing, or only a part of it, is there; and also by a daemon
/// that has not seen the container end.
interface EndSteps {
  /// How it ended is written down where it is placed, for the next daemon.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void write(ContainerState how);

  /// Its OS, unless that is gone, and its port on this host have nothing of it.
  ///
  /// @throws TroubleException, LinuxException when that is not known to be done
  void clear();

  /// Its [Life] has ended. That is so whether it can be written down or not.
  void note(ContainerState how);

  /// Nothing is written down of where it is.
  ///
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void forget();
}
