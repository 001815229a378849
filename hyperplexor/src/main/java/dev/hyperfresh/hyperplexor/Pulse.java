package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.linux.Clock;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.Scheduling;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
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

  private final List<Part> parts = new ArrayList<>();
  private Optional<Page> page = Optional.empty();

  /// A file of the guest's memory, mapped.
  private record Part(MemFd memory, Mapping mapping) {}

  /// A page that begins as a heartbeat page does.
  private record Page(Mapping mapping, long offset) {
    boolean isHeartbeat() {
      return mapping.longAt(offset) == Heartbeat.MAGIC_0
          && mapping.longAt(offset + Long.BYTES) == Heartbeat.MAGIC_1;
    }

    long counter() {
      return mapping.longAt(offset + Heartbeat.COUNTER_OFFSET);
    }
  }

  Pulse(GuestMemory memory) {
    try {
      memory.parts().forEach(part -> parts.add(new Part(part, part.map(false))));
    } catch (LinuxException e) {
      close();
      throw e;
    }
  }

  /// Looks for a page whose counter rises. Costs a read of the guest's populated memory the first
  /// time and a look at the known page afterwards.
  boolean find() {
    if (page.isPresent() && page.get().isHeartbeat() && rises(List.of(page.get()))) {
      return true;
    }
    page = Optional.empty();
    return rises(
        parts.stream()
            .flatMap(part ->
                Heartbeat.candidates(part.memory()).stream()
                    .map(offset -> new Page(part.mapping(), offset)))
            .toList());
  }

  private boolean rises(List<Page> candidates) {
    long[] before = candidates.stream().mapToLong(Page::counter).toArray();
    long deadline = Clock.monotonicNanos() + 200_000_000;
    while (!candidates.isEmpty() && Clock.monotonicNanos() < deadline) {
      LockSupport.parkNanos(2_000_000);
      for (int i = 0; i < before.length; i++) {
        if (candidates.get(i).counter() != before[i]) {
          page = Optional.of(candidates.get(i));
          return true;
        }
      }
    }
    return false;
  }

  /// Begins to sample, if a heartbeat was found.
  Optional<Watch> watch(String guest) {
    return page.map(found -> new Watch(guest, found));
  }

  @Override
  public void close() {
    parts.forEach(part -> part.mapping().close());
  }

  /// A running observation. Closed by its owner, which ends its thread.
  static final class Watch implements AutoCloseable {
    private final Page page;
    private final Thread thread;
    private volatile boolean switching;
    private volatile boolean done;
    private volatile long floorNanos;
    private volatile long gapNanos;
    private volatile boolean wentBack;
    private final long firstBeat;
    private final long firstNanos;
    private volatile double quietBeatsPerSecond;

    private Watch(String guest, Page page) {
      this.page = page;
      this.firstBeat = page.counter();
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
      return page.counter();
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
      long value = page.counter();
      long since = Clock.monotonicNanos();
      while (!done) {
        LockSupport.parkNanos(SAMPLE_NANOS);
        long now = Clock.monotonicNanos();
        long next = page.counter();
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
