package dev.hyperfresh.hypervisor;

/// What an instance of a hypervisor reports of itself.
public sealed interface InstanceEvent {
  /// The instance that reports.
  int generation();

  /// The guest's vCPUs stopped. A source reports it before it sends the last of the guest's state.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970
  record Stopped(int generation, long atMicros) implements InstanceEvent {}

  /// The guest's vCPUs run: from here this instance is the guest's only authority.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970
  record Resumed(int generation, long atMicros) implements InstanceEvent {}

  /// The instance could not send or could not load the guest's state.
  record HandOverFailed(int generation, String reason) implements InstanceEvent {}

  /// The instance has sent all of the guest's state. Nobody need have received it.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970
  record HandOverSent(int generation, long atMicros) implements InstanceEvent {}

  /// The instance answers again, after [Instance#takeBack] had to give up because it did not.
  record Answering(int generation) implements InstanceEvent {}

  /// The guest asked to be powered off.
  record PoweredOff(int generation) implements InstanceEvent {}

  /// The instance's process is gone or its control channel broke; the last event of an instance.
  record Ended(int generation, String reason) implements InstanceEvent {}
}
