package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import org.junit.jupiter.api.Test;

class ClockTest {
  private static final int ROUNDS = 10_000;
  private static final int MOST_BATCHES = 300;

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
    for (int batch = 0; batch < MOST_BATCHES && least > ROUNDS; batch++) {
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
