package dev.hyperfresh.hyperplexor;

import java.nio.file.Path;
import java.util.Map;

/// A guest that was given back to what manages it.
///
/// @param pid of its process
/// @param vcpus the threads of its processors, by their numbers
/// @param terminals the terminals of its character devices, by their names
/// @param taps the taps of its network ports, by their names
/// @param program the emulator that runs it
public record HandedBack(
    String name,
    int pid,
    Map<Integer, Integer> vcpus,
    Map<String, String> terminals,
    Map<String, String> taps,
    Path program) {
  public HandedBack {
    vcpus = Map.copyOf(vcpus);
    terminals = Map.copyOf(terminals);
    taps = Map.copyOf(taps);
  }
}
