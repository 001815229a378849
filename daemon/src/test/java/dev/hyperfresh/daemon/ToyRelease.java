package dev.hyperfresh.daemon;

import dev.hyperfresh.hypervisor.Release;
import java.util.Set;

/// A release of [ToyHypervisor], which is nothing but its name.
record ToyRelease(String version) implements Release {
  /// The one machine type: something that counts.
  static final String MACHINE = "counter";

  @Override
  public String name() {
    return "toy-" + version;
  }

  @Override
  public String kind() {
    return ToyHypervisor.KIND;
  }

  @Override
  public Set<String> machines() {
    return Set.of(MACHINE);
  }
}
