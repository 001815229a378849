package dev.hyperfresh.relocation;

import dev.hyperfresh.hypervisor.HyperFreshException;

/// Where a [Relocation] writes down what the next daemon has to know, and tells what it does. For
/// one thread.
interface MoveJournal {
  /// Writes a state down, and returns when it is on disk.
  ///
  /// @throws HyperFreshException [dev.hyperfresh.hypervisor.Problem#DAEMON_STATE] when it cannot be
  ///   written
  void write(MoveState state);

  /// A step of what is left to do is done.
  void done(FinishStep step);

  /// Something is waited for, or tried again; one sentence for people. Must not throw.
  void waits(String why);
}
