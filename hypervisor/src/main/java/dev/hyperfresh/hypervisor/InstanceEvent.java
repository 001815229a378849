package dev.hyperfresh.hypervisor;

import java.util.OptionalLong;

/// What an instance of a hypervisor reports of itself.
public sealed interface InstanceEvent {
  /// The instance that reports.
  int generation();

  /// The guest's vCPUs stopped. A source reports it before it sends the last of the guest's state.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970
  record Stopped(int generation, long atMicros) implements InstanceEvent {}

  /// The guest's vCPUs run, or sleep where they slept: from here this instance is the guest's only
  /// authority.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970; empty when it was
  ///   found out later, because the report was lost
  record Resumed(int generation, OptionalLong atMicros) implements InstanceEvent {
    /// Of a report that came.
    public Resumed(int generation, long atMicros) {
      this(generation, OptionalLong.of(atMicros));
    }
  }

  /// The instance could not send or could not load the guest's state.
  record HandOverFailed(int generation, String reason) implements InstanceEvent {}

  /// The instance has sent all of the guest's state. Nobody need have received it.
  ///
  /// @param atMicros the hypervisor's own wall clock, microseconds since 1970
  record HandOverSent(int generation, long atMicros) implements InstanceEvent {}

  /// The instance answers again, after [Instance#takeBack] had to give up because it did not, or
  /// after its control channel was lost.
  record Answering(int generation) implements InstanceEvent {}

  /// The guest asked to be powered off.
  record PoweredOff(int generation) implements InstanceEvent {}

  /// The guest was reset.
  record Reset(int generation) implements InstanceEvent {}

  /// The guest's [RunState] is another one than before, for a reason that is not a hand-over's;
  /// [Instance#runState] says which.
  record Changed(int generation) implements InstanceEvent {}

  /// The instance's process is gone: the last event of an instance. A control channel that is lost
  /// while the process lives is no end, and is opened again.
  record Ended(int generation, String reason) implements InstanceEvent {}
}
