package dev.hyperfresh.qemu;

/// Told of what goes to and comes from hypervisors over their control channels, at the moment it
/// does. The product watches nothing; whoever breaks something at an exact point of the protocol
/// does so from here.
///
/// Both methods are called on the thread that sends or reads, also inside the blackout: what they
/// do there lengthens it. They may block, and must not throw.
public interface ControlWatcher {
  /// Watches nothing.
  ControlWatcher NONE = new ControlWatcher() {};

  /// The hypervisor at the other end of a channel.
  ///
  /// @param guest the name of its guest
  /// @param generation counts the instances of a guest from 1
  /// @param pid its process
  record Party(String guest, int generation, int pid) {}

  /// A command is about to be sent.
  ///
  /// @param command its QMP name, such as `migrate`
  default void sending(Party to, String command) {}

  /// A message has arrived and nobody has been told of it yet.
  ///
  /// @param message the QMP name of an event, such as `STOP`; `greeting`; `return` or `error` for
  ///   the answer to a command
  /// @param status the `status` in the data of an event, such as `completed`, or empty
  /// @return whether anybody is to be told; otherwise the message is lost
  default boolean received(Party from, String message, String status) {
    return true;
  }
}
