package dev.hyperfresh.relocation;

import java.time.Instant;
import java.util.Map;
import java.util.OptionalDouble;

/// How a container was moved from one OS to another.
///
/// @param startedAt when this host was asked for it, or, of a move that a daemon has left
///   unfinished, when the next one found it
/// @param container its name
/// @param from the OS that it left
/// @param to the OS that it came to
/// @param kernelFrom the kernel version there
/// @param kernelTo the kernel version here
/// @param transport [Transport#label]
/// @param outcome `committed`, `rolled-back`, `ended` when it came there and ended, or `lost`
/// @param detail why it is not simply committed; empty otherwise
/// @param memoryBytes of its pages, by the frames that were written down while it stood still
/// @param frozenBytes what was copied while it stood still: CRIU's images and the list of frames,
///   and the memory where it is copied
/// @param phasesMs what each phase took, in the order in which they came
/// @param frozenMs how long it stood still, as this host saw it: from the order to freeze it until
///   it ran again
/// @param drain how its memory came after it; empty numbers when it did not come
public record RelocationRecord(
    Instant startedAt,
    String container,
    String from,
    String to,
    String kernelFrom,
    String kernelTo,
    String transport,
    String outcome,
    String detail,
    long memoryBytes,
    long frozenBytes,
    Map<String, Double> phasesMs,
    OptionalDouble frozenMs,
    Drain drain) {

  /// How a container's memory came after it.
  ///
  /// @param pages of 4 KiB that came
  /// @param millis from the first to the last
  /// @param faults how many pages the container waited for
  /// @param longestFaultMicros the longest that it waited
  public record Drain(long pages, double millis, long faults, long longestFaultMicros) {
    static final Drain NONE = new Drain(0, 0, 0, 0);

    /// Mebibytes a second; 0 when nothing came.
    public double mibPerSecond() {
      return millis <= 0 ? 0 : pages / 256.0 / (millis / 1000);
    }
  }
}
