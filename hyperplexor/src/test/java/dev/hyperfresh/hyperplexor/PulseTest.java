package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.GuestMemory;
import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(20)
class PulseTest {
  private static final long PAGE = 3 * 4096;
  private static final long STALE_PAGE = 4096;
  private static final VarHandle WORD = ValueLayout.JAVA_LONG.varHandle();

  private final MemFd memory = MemFd.create("pulse-test", 1 << 20);
  private final Mapping mapping = memory.map(true);
  private volatile boolean beating = true;
  private volatile boolean done;
  private Thread heart = new Thread(() -> {});

  @AfterEach
  void end() throws Exception {
    done = true;
    heart.join();
    mapping.close();
    memory.close();
  }

  @Test
  void withoutAHeartbeatThereIsNothingToWatch() {
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isFalse();
      assertThat(pulse.watch("g")).isEmpty();
    }
  }

  @Test
  void aPageWhoseCounterStandsStillIsNoHeartbeat() {
    mark(STALE_PAGE);
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isFalse();
      assertThat(pulse.watch("g")).isEmpty();
    }
  }

  @Test
  void theGapOfTheSwitchIsTheTimeInWhichTheCounterStoodStill() {
    mark(STALE_PAGE);
    beat();
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).as("the beating page of two").isTrue();
      try (Pulse.Watch watch = pulse.watch("g").orElseThrow()) {
        await(() -> watch.floorNanos() > 0);
        assertThat(watch.gapNanos()).as("before the switch").isZero();
        watch.switchBegins();

        Duration stalled = stallFor(Duration.ofMillis(150));
        await(() -> watch.gapNanos() > 100_000_000);

        assertThat(watch.gapNanos()).isBetween(140_000_000L, stalled.plusMillis(400).toNanos());
        assertThat(watch.floorNanos()).isPositive();
        assertThat(watch.wentBack()).isFalse();
      }
      assertThat(pulse.find()).as("again, at the known page").isTrue();
    }
  }

  @Test
  void aHeartbeatIsFoundInWhicheverMemoryItIs() {
    beat();
    try (MemFd other = MemFd.create("pulse-test-other", 1 << 20);
        Mapping stale = other.map(true)) {
      // Of an earlier boot, at the place where the other memory has the page that beats.
      stale.segment().set(ValueLayout.JAVA_LONG, PAGE, Heartbeat.MAGIC_0);
      stale.segment().set(ValueLayout.JAVA_LONG, PAGE + 8, Heartbeat.MAGIC_1);
      for (List<MemFd> parts : List.of(List.of(memory, other), List.of(other, memory))) {
        try (Pulse pulse = new Pulse(new GuestMemory(parts))) {
          assertThat(pulse.find()).isTrue();
          try (Pulse.Watch watch = pulse.watch("g").orElseThrow()) {
            assertThat(watch.beats()).isGreaterThan(1_000_000);
          }
        }
      }
    }
  }

  @Test
  void aGapBeforeTheSwitchIsNoise() {
    beat();
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isTrue();
      try (Pulse.Watch watch = pulse.watch("g").orElseThrow()) {
        var _ = stallFor(Duration.ofMillis(100));
        await(() -> watch.floorNanos() > 90_000_000);

        assertThat(watch.gapNanos()).isZero();
      }
    }
  }

  @Test
  void aGapThatHasNotEndedCounts() {
    beat();
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isTrue();
      try (Pulse.Watch watch = pulse.watch("g").orElseThrow()) {
        await(() -> watch.floorNanos() > 0);
        watch.switchBegins();
        beating = false;
        LockSupport.parkNanos(200_000_000);

        assertThat(watch.gapNanos())
            .as("a guest that never beats again")
            .isGreaterThan(100_000_000);
      }
    }
  }

  @Test
  void aCounterThatGoesBackIsSeen() {
    beat();
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isTrue();
      try (Pulse.Watch watch = pulse.watch("g").orElseThrow()) {
        await(() -> watch.floorNanos() > 0);
        assertThat(watch.wentBack()).isFalse();

        set(PAGE, 0);

        await(watch::wentBack);
        assertThat(watch.wentBack()).isTrue();
      }
    }
  }

  @Test
  void aWatchEndsItsThread() {
    beat();
    try (Pulse pulse = new Pulse(GuestMemory.of(memory))) {
      assertThat(pulse.find()).isTrue();
      pulse.watch("closing").orElseThrow().close();
      assertThat(Thread.getAllStackTraces().keySet())
          .noneMatch(thread -> thread.getName().equals("hf-pulse-closing"));
    }
  }

  private void beat() {
    mark(PAGE);
    heart =
        Thread.ofPlatform()
            .start(() -> {
              while (!done) {
                LockSupport.parkNanos(500_000);
                if (beating) {
                  WORD.getAndAdd(mapping.segment(), PAGE + Heartbeat.COUNTER_OFFSET, 1L);
                }
              }
            });
    await(() -> counter() > 1_000_005);
  }

  private Duration stallFor(Duration time) {
    long start = System.nanoTime();
    beating = false;
    while (System.nanoTime() - start < time.toNanos()) {
      LockSupport.parkNanos(1_000_000);
    }
    beating = true;
    return Duration.ofNanos(System.nanoTime() - start);
  }

  private long counter() {
    return (long) WORD.getVolatile(mapping.segment(), PAGE + Heartbeat.COUNTER_OFFSET);
  }

  private void set(long page, long value) {
    WORD.setVolatile(mapping.segment(), page + Heartbeat.COUNTER_OFFSET, value);
  }

  private void mark(long page) {
    mapping.segment().set(ValueLayout.JAVA_LONG, page, Heartbeat.MAGIC_0);
    mapping.segment().set(ValueLayout.JAVA_LONG, page + 8, Heartbeat.MAGIC_1);
    set(page, 1_000_000);
  }

  private static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + Duration.ofSeconds(5).toNanos();
    while (!condition.getAsBoolean() && System.nanoTime() < deadline) {
      LockSupport.parkNanos(1_000_000);
    }
  }
}
