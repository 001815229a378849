package dev.hyperfresh.daemon;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;

/// What is done with virtual machines of either kind that are stopped, or are to be. Thread-safe.
/// The problems that are named [dev.hyperfresh.vm.VmKind.About] has.
interface VmLife {
  /// Boots one that is stopped or has ended by itself. Does nothing to one that runs.
  ///
  /// @throws HyperFreshException unknown, start, [Problem#RELEASE_UNKNOWN], [Problem#SPEC_MEMORY]
  void start(String name, Progress progress);

  /// Ends one in which nobody is, which can be started again. Does nothing when it is stopped.
  ///
  /// @throws HyperFreshException unknown, and whatever says that somebody is in it
  void stop(String name);

  /// Decides whether one is started when the host has booted.
  ///
  /// @throws HyperFreshException unknown, [Problem#DAEMON_STATE]
  void autostart(String name, boolean on);

  /// One as the API shows it.
  ///
  /// @throws HyperFreshException unknown
  Object view(String name);
}
