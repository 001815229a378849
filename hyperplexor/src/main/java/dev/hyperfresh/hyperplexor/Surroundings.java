package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.Clock;
import java.util.concurrent.locks.LockSupport;

/// What a replacement needs of the world besides guest and hypervisors: time, priorities and the
/// journal. The simulation has its own, in virtual time.
interface Surroundings {
  /// Time that never goes back, nanoseconds.
  long nanos();

  /// The wall clock, microseconds since 1970.
  long wallMicros();

  /// Lets time pass.
  void pause(long nanos);

  /// How long a heartbeat is watched.
  default WatchTimes watchTimes() {
    return WatchTimes.USUAL;
  }

  /// The right to run first, for the switch alone.
  ///
  /// @param passedOn whether also what the source starts meanwhile has it
  Priority priority(int source, int target, boolean passedOn);

  /// Waits until this guest may switch. The guest runs meanwhile.
  default SwitchGate.Pass enterSwitch() throws InterruptedException {
    return () -> {};
  }

  /// Writes an entry and returns when it is on disk.
  void write(Journal.Entry entry);

  /// Real-time priority for two processes.
  interface Priority {
    /// Gives it.
    void raise();

    /// Takes it back.
    void lower();
  }

  /// The real world.
  record OfHost(Journal journal, SwitchGate gate, WatchTimes watchTimes) implements Surroundings {
    @Override
    public long nanos() {
      return Clock.monotonicNanos();
    }

    @Override
    public long wallMicros() {
      return Clock.realtimeNanos() / 1000;
    }

    @Override
    public void pause(long nanos) {
      LockSupport.parkNanos(nanos);
    }

    @Override
    public Priority priority(int source, int target, boolean passedOn) {
      return SwitchPriority.of(source, target, passedOn);
    }

    @Override
    public SwitchGate.Pass enterSwitch() throws InterruptedException {
      return gate.enter();
    }

    @Override
    public void write(Journal.Entry entry) {
      journal.write(entry);
    }
  }
}
