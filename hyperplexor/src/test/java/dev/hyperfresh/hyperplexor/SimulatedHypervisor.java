package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.Instance;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.hypervisor.Release;
import dev.hyperfresh.hypervisor.RunState;
import java.util.List;
import java.util.Set;

/// The kind of hypervisor in a simulated world: starts a process that waits for the guest's state.
final class SimulatedHypervisor extends PartialHypervisor {
  static final String KIND = "simulated";

  private final SimulatedWorld world;
  private final SimulatedDaemon of;

  /// A build, named as no real one.
  ///
  /// @param keepsSuspended as [Release#keepsSuspended]
  record Build(String name, boolean keepsSuspended) implements Release {
    @Override
    public String kind() {
      return KIND;
    }

    @Override
    public String version() {
      return name.substring(name.indexOf('-') + 1);
    }

    @Override
    public Set<String> machines() {
      return Set.of("pc-q35-7.2");
    }
  }

  SimulatedHypervisor(SimulatedWorld world, SimulatedDaemon of) {
    this.world = world;
    this.of = of;
  }

  @Override
  public String kind() {
    return KIND;
  }

  @Override
  public List<Check> checks(GuestSpec spec, Release release, Accelerator accelerator) {
    return List.of();
  }

  @Override
  public void pin(Launch launch) {}

  @Override
  public Instance start(Launch launch) {
    throw new UnsupportedOperationException("the guest runs already");
  }

  @Override
  public Instance startWaiting(Launch launch) {
    world.step("startWaiting");
    world.faults.failCall(Problem.REPLACE_PREPARE, "It does not start.");
    SimulatedInstance process = new SimulatedInstance(world, launch, RunState.AWAITING);
    process.control.attach(of, launch.events());
    world.time.advance(world.latency());
    return process;
  }
}
