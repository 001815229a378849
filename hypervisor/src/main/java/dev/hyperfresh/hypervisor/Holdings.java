package dev.hyperfresh.hypervisor;

import dev.hyperfresh.linux.Fd;
import java.util.List;

/// A guest's memory and the queues of its network cards. Who says what happens to the descriptors
/// is the method that takes or returns this: by default the receiver owns all of them.
public record Holdings(Fd memory, List<Fd> nicQueues) implements AutoCloseable {
  /// Copies the list.
  public Holdings {
    nicQueues = List.copyOf(nicQueues);
  }

  /// Closes all of them; does nothing the second time.
  @Override
  public void close() {
    memory.close();
    nicQueues.forEach(Fd::close);
  }
}
