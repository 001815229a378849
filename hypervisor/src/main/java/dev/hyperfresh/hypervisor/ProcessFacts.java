package dev.hyperfresh.hypervisor;

import java.nio.file.Path;
import java.util.Map;

/// What a guest's manager has to know of the hypervisor that it is given back, to find everything
/// in it again.
///
/// @param vcpus the thread of each processor, by the processor's number
/// @param terminals the pseudo-terminals that the hypervisor has opened, by the names of the
///   guest's character devices
/// @param program what runs
public record ProcessFacts(
    Map<Integer, Integer> vcpus, Map<String, String> terminals, Path program) {
  public ProcessFacts {
    vcpus = Map.copyOf(vcpus);
    terminals = Map.copyOf(terminals);
  }
}
