package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.Scheduling;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/// Real-time priority for both hypervisors, for the time of a switch alone. On a host whose cores
/// are all busy they otherwise wait for a slice of the scheduler, which is longer than all that the
/// hand-over itself takes: measured on two busy cores, 5 of 16 switches took 9 to 14 ms instead of
/// 2 to 3, and with the priority none of 15 more than 6.
///
/// Of the source only the main thread and the one that it starts to send the state get it: a vCPU
/// that spins would keep the others from the core that they need to stop it.
///
/// Does nothing where this process may not give priority.
final class SwitchPriority implements Surroundings.Priority {
  private static final int LOWEST = 1;

  private final int source;
  private final int[] threads;

  private SwitchPriority(int source, int[] threads) {
    this.source = source;
    this.threads = threads;
  }

  /// For every thread that process `target` has now; those it starts later are ordinary ones.
  static SwitchPriority of(int source, int target) {
    try (Stream<Path> tasks = Files.list(Path.of("/proc", Integer.toString(target), "task"))) {
      return new SwitchPriority(
          source,
          tasks.mapToInt(task -> Integer.parseInt(String.valueOf(task.getFileName()))).toArray());
    } catch (IOException | UncheckedIOException e) {
      // The process is gone, which its own events tell better.
      return new SwitchPriority(source, new int[0]);
    }
  }

  /// Makes every thread of process `pid` an ordinary one: what [#lower] does, for a daemon that did
  /// not live to do it.
  static void giveBack(int pid) {
    for (int thread : of(pid, pid).threads) {
      Scheduling.normal(thread);
    }
  }

  @Override
  public void raise() {
    for (int thread : threads) {
      Scheduling.realTime(thread, LOWEST);
    }
    // The main thread has the number of the process.
    Scheduling.realTimeInherited(source, LOWEST);
  }

  @Override
  public void lower() {
    for (int thread : threads) {
      Scheduling.normal(thread);
    }
    Scheduling.normal(source);
  }
}
