package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.InstanceEvent;
import java.util.Optional;
import java.util.Queue;

/// A guest as [Hosting] needs it. For the guest's thread.
interface Hosted {
  /// Makes the state visible.
  void publish(GuestView.State state, String detail);

  /// Writes down, for the next daemon, who has the guest. Returns when it is on disk.
  ///
  /// @param doubt why it must not be continued by itself
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void write(Instance running, Optional<Instance> waiting, Optional<String> doubt);

  /// The guest's vCPUs stopped or went on, outside of a replacement.
  default void stood(InstanceEvent event) {}

  /// A hypervisor that could not be ended has ended, and needs its ports no more.
  ///
  /// @param source whether it ran the guest before the one that does; otherwise it was a target
  default void undeadGone(boolean source) {}

  /// Whether a reset of the guest ends its instance.
  default boolean endsAtReset() {
    return false;
  }

  /// No process has the guest any more.
  ///
  /// @param why as half a sentence
  void gone(GuestEnd end, String why);

  /// As [dev.hyperfresh.hypervisor.Reattacher#hasRun].
  Optional<Boolean> hasRun(int generation);

  /// What the instances reported and nobody has looked at yet, oldest first.
  Queue<InstanceEvent> mailbox();

  /// The guest's name, for logs.
  String name();
}
