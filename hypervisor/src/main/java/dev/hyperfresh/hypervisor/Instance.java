package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import java.nio.file.Path;
import java.time.Duration;

/// One running instance of a hypervisor, which runs one guest or waits to receive it.
///
/// The calls of a replacement, in order: [#expect] and [#connect] while the guest runs, then
/// [#handOver], which is the only one inside the blackout and does nothing but write one prepared
/// message. One thread at a time may call an instance; events arrive on a thread of its own.
public interface Instance extends AutoCloseable {
  /// Counts the instances of a guest from 1.
  int generation();

  /// The release that runs.
  Release release();

  /// The process on this host.
  int pid();

  /// The unix socket of the guest's serial console; one client at a time.
  Path console();

  /// Target, while preparing: take the guest's state from `channel` when it comes. The descriptor
  /// is copied into the hypervisor; the caller keeps and closes its own.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  void expect(Fd channel);

  /// Source, while preparing: have `channel` at hand to send the state to. The descriptor is copied
  /// into the hypervisor; the caller keeps and closes its own.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_PREPARE]
  void connect(Fd channel);

  /// Source: stop the guest and send its state. Returns at once; the outcome comes as events of
  /// both instances. Allocates nothing, logs nothing.
  void handOver();

  /// Source, after a hand-over that failed: run the guest again, whatever is left of the hand-over.
  ///
  /// @throws HyperFreshException [Problem#REPLACE_LOST] when the source cannot go on either
  void takeBack();

  /// Source, after it stopped: bytes of the guest's own RAM that the hand-over copied; 0 when its
  /// memory was only mapped.
  long ramBytesCopied();

  /// Target, right after it resumed: bytes it read since [#expect], which are the guest's state and
  /// firmware images, and at most a few hundred bytes of the hypervisor's own notifications.
  long stateBytes();

  /// Asks the guest to power itself off.
  void powerOff();

  /// Ends the process and waits for it, at most `limit`; after that it is killed.
  void end(Duration limit);

  /// Kills the process at once and waits until it is gone.
  void kill();

  /// Threads of the process that carry guest or device code, for scheduling during the switch.
  int[] threads();

  /// Lets go of the instance's descriptors; the process, if it lives, goes on.
  @Override
  void close();
}
