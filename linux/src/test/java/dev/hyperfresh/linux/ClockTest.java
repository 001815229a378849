package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

class ClockTest {
  private static final int ROUNDS = 10_000;

  /// The compiler may get no processor for a while on a busy host.
  private static final long COMPILED_NANOS = 60_000_000_000L;

  @Test
  void monotonicTimeNeverGoesBack() {
    long last = Clock.monotonicNanos();
    for (int i = 0; i < 1000; i++) {
      long now = Clock.monotonicNanos();
      assertThat(now).isGreaterThanOrEqualTo(last);
      last = now;
    }
  }

  @Test
  void bothClocksAreThoseOfTheJvm() {
    long nano = System.nanoTime();
    long millis = System.currentTimeMillis();

    Clock.Timestamp now = Clock.now();

    // HotSpot reads the same kernel clock.
    assertThat(now.monotonicNanos() - nano).isBetween(0L, 1_000_000_000L);
    assertThat(now.realtimeNanos() / 1_000_000 - millis).isBetween(0L, 1000L);
  }

  @Test
  void readingAllocatesNothingOnceCompiled() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long least = Long.MAX_VALUE;
    long deadline = System.nanoTime() + COMPILED_NANOS;
    while (least > ROUNDS && System.nanoTime() < deadline) {
      long before = threads.getCurrentThreadAllocatedBytes();
      assertThat(readMany(ROUNDS)).isNotZero();
      least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
    }

    assertThat(least).as("bytes in %d calls", ROUNDS).isLessThanOrEqualTo(ROUNDS);
  }

  private static long readMany(int rounds) {
    long sum = 0;
    for (int i = 0; i < rounds; i++) {
      sum += Clock.monotonicNanos();
    }
    return sum;
  }
}
