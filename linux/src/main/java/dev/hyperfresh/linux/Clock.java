package dev.hyperfresh.linux;

import static dev.hyperfresh.linux.LinuxException.check;

import dev.hyperfresh.linux.Layouts.Timespec;
import java.lang.foreign.MemorySegment;

/// The clocks of the kernel (`clock_gettime`). Once compiled, reading one allocates nothing. All
/// methods may be called by any thread.
public final class Clock {
  private static final long NANOS_PER_SECOND = 1_000_000_000L;

  private Clock() {}

  /// The same instant on both clocks: the one that orders events on this host, and the one that a
  /// person reads. The second is read right after the first, in nanoseconds both.
  public record Timestamp(long monotonicNanos, long realtimeNanos) {}

  /// Nanoseconds since some moment before the boot of this host, never going back
  /// (`CLOCK_MONOTONIC`). All processes of the host see the same clock.
  public static long monotonicNanos() {
    return nanos(Constants.CLOCK_MONOTONIC, "CLOCK_MONOTONIC");
  }

  /// Nanoseconds since 1970-01-01 UTC (`CLOCK_REALTIME`). It jumps when somebody sets the clock.
  public static long realtimeNanos() {
    return nanos(Constants.CLOCK_REALTIME, "CLOCK_REALTIME");
  }

  /// Reads both clocks.
  public static Timestamp now() {
    long monotonic = monotonicNanos();
    return new Timestamp(monotonic, realtimeNanos());
  }

  private static long nanos(int clock, String name) {
    MemorySegment time = Scratch.mine().arguments();
    check(ThreadCalls.clockGettime(clock, time), "clock_gettime", name);
    return Timespec.tv_sec.get(time) * NANOS_PER_SECOND + Timespec.tv_nsec.get(time);
  }
}
