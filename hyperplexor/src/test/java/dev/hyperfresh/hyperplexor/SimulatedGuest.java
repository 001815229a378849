package dev.hyperfresh.hyperplexor;

/// What is true of the guest, whatever a daemon believes.
final class SimulatedGuest {
  /// The state of the guest's vCPUs counts up with each process that ran it.
  int epoch = 1;

  /// When the vCPUs stopped last on a source, and ran first on a target; microseconds.
  long stoppedMicros;

  long resumedMicros;

  /// A process died that alone held its state.
  boolean stateWasLost;

  boolean isOff;

  /// Whether no daemon heard of it, so that a guest that was just being moved goes on.
  boolean offUnheard;
}
