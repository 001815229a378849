package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.CpuPriority;
import dev.hyperfresh.linux.ProcessThreads;
import dev.hyperfresh.linux.Scheduling;
import java.util.Optional;

/// Real-time priority for both hypervisors, for the time of a switch alone. On a host whose cores
/// are all busy they otherwise wait for a slice of the scheduler, which is longer than all that the
/// hand-over itself takes: measured on two busy cores, 5 of 16 switches took 9 to 14 ms instead of
/// 2 to 3, and with the priority none of 15 more than 6.
///
/// Of the source only the main thread and the one that it starts to send the state get it: a vCPU
/// that spins would keep the others from the core that they need to stop it. A source that can
/// start processes passes nothing on: they would keep the priority, out of reach of [#lower].
///
/// The target gets what the source has before that, and keeps it, thread for thread: nice value,
/// policy and cores that somebody has set stay the guest's.
///
/// Does nothing where this process may not give priority.
final class SwitchPriority implements Surroundings.Priority {
  private static final int LOWEST = 1;

  private final int source;
  private final int target;
  private final int[] threads;
  private final boolean passedOn;
  private final Optional<CpuPriority.OfThreads> own;

  private SwitchPriority(
      int source,
      int target,
      int[] threads,
      boolean passedOn,
      Optional<CpuPriority.OfThreads> own) {
    this.source = source;
    this.target = target;
    this.threads = threads;
    this.passedOn = passedOn;
    this.own = own;
  }

  /// For every thread that process `target` has now; those it starts later are ordinary ones. Makes
  /// them what those of `source` are.
  ///
  /// @param passedOn as in [Surroundings#priority]
  static SwitchPriority of(int source, int target, boolean passedOn) {
    Optional<CpuPriority.OfThreads> own = CpuPriority.OfThreads.of(source);
    own.ifPresent(priority -> priority.giveTo(target));
    return new SwitchPriority(source, target, ProcessThreads.of(target), passedOn, own);
  }

  /// Takes the priority of a switch from every thread of process `pid`: what [#lower] does, for a
  /// daemon that did not live to do it.
  static void giveBack(int pid) {
    Scheduling.giveBack(pid, LOWEST);
  }

  @Override
  public void raise() {
    for (int thread : threads) {
      Scheduling.realTime(thread, LOWEST);
    }
    // The main thread has the number of the process.
    if (passedOn) {
      Scheduling.realTimeInherited(source, LOWEST);
    } else {
      Scheduling.realTime(source, LOWEST);
    }
  }

  /// The source has started threads meanwhile that have its priority: all of them count.
  @Override
  public void lower() {
    giveBack(source);
    giveBack(target);
    // What the target started in the meantime has nothing of it.
    own.ifPresent(priority -> priority.giveTo(target));
  }
}
