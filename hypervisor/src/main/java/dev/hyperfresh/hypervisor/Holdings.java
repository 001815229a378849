package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import java.util.List;

/// The files of a guest's memory and the queues of its network cards. Who says what happens to the
/// descriptors is the method that takes or returns this: by default the receiver owns all of them.
public record Holdings(List<Fd> memories, List<Fd> nicQueues) implements AutoCloseable {
  /// Copies the lists.
  public Holdings {
    memories = List.copyOf(memories);
    nicQueues = List.copyOf(nicQueues);
  }

  /// Closes all of them; does nothing the second time.
  @Override
  public void close() {
    memories.forEach(Fd::close);
    nicQueues.forEach(Fd::close);
  }
}
