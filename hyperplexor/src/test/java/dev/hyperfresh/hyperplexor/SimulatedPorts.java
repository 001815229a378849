package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.Fd;
import java.util.List;

/// The guest's ports: whether the target has queues of them.
final class SimulatedPorts extends Endpoints {
  private final SimulatedWorld world;
  private boolean spare;

  SimulatedPorts(SimulatedWorld world) {
    super(List.of());
    this.world = world;
  }

  @Override
  List<Fd> spares() {
    spare = true;
    return List.of();
  }

  @Override
  void keep() {
    spare = false;
  }

  @Override
  void drop() {
    if (spare && world.processes.size() > 1 && world.processes.getLast().alive) {
      throw world.broken("a port is taken away under a target that lives");
    }
    spare = false;
  }
}
