package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Scheduling;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.locks.LockSupport;

/// Watches a guest's heartbeat from outside, through the guest's memory, so that the blackout is
/// seen as the guest's neighbours see it and not as a hypervisor reports it.
///
/// One thread samples; it sleeps between samples because on a host with few cores a spinning
/// observer takes the time it wants to measure, and has no priority because that was seen to
/// lengthen the blackout it watches. What it cannot see is stated as the noise floor: the longest
/// gap of the quiet time before the switch.
final class Pulse implements AutoCloseable {
  private static final long SAMPLE_NANOS = 200_000;

  private final MemFd memory;
  private final Mapping mapping;
  private OptionalLong page = OptionalLong.empty();

  Pulse(MemFd memory) {
    this.memory = memory;
    this.mapping = memory.map(false);
  }

  /// Looks for a page whose counter rises. Costs a read of the guest's populated memory the first
  /// time and a look at the known page afterwards.
  boolean find() {
    if (page.isPresent() && isHeartbeat(page.getAsLong()) && rises(List.of(page.getAsLong()))) {
      return true;
    }
    page = OptionalLong.empty();
    return rises(Heartbeat.candidates(memory));
  }

  private boolean rises(List<Long> candidates) {
    long[] before = candidates.stream().mapToLong(this::counter).toArray();
    long deadline = Clock.monotonicNanos() + 200_000_000;
    while (!candidates.isEmpty() && Clock.monotonicNanos() < deadline) {
      LockSupport.parkNanos(2_000_000);
      for (int i = 0; i < before.length; i++) {
        if (counter(candidates.get(i)) != before[i]) {
          page = OptionalLong.of(candidates.get(i));
          return true;
        }
      }
    }
    return false;
  }

  private boolean isHeartbeat(long offset) {
    return mapping.longAt(offset) == Heartbeat.MAGIC_0
        && mapping.longAt(offset + Long.BYTES) == Heartbeat.MAGIC_1;
  }

  private long counter(long offset) {
    return mapping.longAt(offset + Heartbeat.COUNTER_OFFSET);
  }

  /// Begins to sample, if a heartbeat was found.
  Optional<Watch> watch(String guest) {
    return page.isPresent() ? Optional.of(new Watch(guest, page.getAsLong())) : Optional.empty();
  }

  @Override
  public void close() {
    mapping.close();
  }

  /// A running observation. Closed by its owner, which ends its thread.
  final class Watch implements AutoCloseable {
    private final long offset;
    private final Thread thread;
    private volatile boolean switching;
    private volatile boolean done;
    private volatile long floorNanos;
    private volatile long gapNanos;
    private volatile boolean wentBack;
    private final long firstBeat;
    private final long firstNanos;
    private volatile double quietBeatsPerSecond;

    private Watch(String guest, long offset) {
      this.offset = offset;
      this.firstBeat = counter(offset);
      this.firstNanos = Clock.monotonicNanos();
      this.thread = Thread.ofPlatform().name("hf-pulse-" + guest).daemon().start(this::sample);
    }

    /// From here on gaps count as the switch's, before as the noise floor's.
    void switchBegins() {
      double seconds = (Clock.monotonicNanos() - firstNanos) / 1e9;
      quietBeatsPerSecond = (beats() - firstBeat) / seconds;
      switching = true;
    }

    /// The counter as it stands now.
    long beats() {
      return counter(offset);
    }

    /// How fast the counter rose before [#switchBegins].
    double quietBeatsPerSecond() {
      return quietBeatsPerSecond;
    }

    /// The longest gap before the switch.
    long floorNanos() {
      return floorNanos;
    }

    /// The longest gap since [#switchBegins].
    long gapNanos() {
      return gapNanos;
    }

    /// Whether the counter was ever seen smaller than before.
    boolean wentBack() {
      return wentBack;
    }

    private void sample() {
      Scheduling.timerSlack(1);
      long value = counter(offset);
      long since = Clock.monotonicNanos();
      while (!done) {
        LockSupport.parkNanos(SAMPLE_NANOS);
        long now = Clock.monotonicNanos();
        long next = counter(offset);
        // A gap counts from its first moment: a guest that never beats again must be seen too.
        record(now - since);
        if (next != value) {
          wentBack |= next < value;
          value = next;
          since = now;
        }
      }
    }

    private void record(long gap) {
      if (switching) {
        gapNanos = Math.max(gapNanos, gap);
      } else {
        floorNanos = Math.max(floorNanos, gap);
      }
    }

    @Override
    public void close() {
      done = true;
      LockSupport.unpark(thread);
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
