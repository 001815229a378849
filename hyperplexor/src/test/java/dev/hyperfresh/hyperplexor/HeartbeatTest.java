package dev.hyperfresh.hyperplexor;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

class HeartbeatTest {
  private static final long PAGE = 4096;
  private static final long BYTES = 64L << 20;

  @Test
  void memoryWithoutAPageHasNoHeartbeat() {
    try (MemFd memory = MemFd.create("heartbeat-test", BYTES)) {
      assertThat(Heartbeat.candidates(memory)).isEmpty();
      assertThat(memory.populatedBytes()).isZero();
    }
  }

  @Test
  void pagesAreFoundAtTheirStartsOnlyAndNoHoleIsFilled() {
    try (MemFd memory = MemFd.create("heartbeat-test", BYTES);
        Mapping mapping = memory.map(true)) {
      long first = 0;
      long second = 3 * PAGE;
      long acrossAChunk = (1L << 20) - PAGE;
      long afterTheChunk = 1L << 20;
      long afterAHole = 40L << 20;
      long last = BYTES - PAGE;
      for (long at : new long[] {first, second, acrossAChunk, afterTheChunk, afterAHole, last}) {
        mark(mapping, at);
      }
      mark(mapping, 5 * PAGE + 64);
      mark(mapping, 6 * PAGE + 8);
      word(mapping, 7 * PAGE, Heartbeat.MAGIC_0);
      word(mapping, 8 * PAGE + 8, Heartbeat.MAGIC_1);
      long populated = memory.populatedBytes();

      assertThat(Heartbeat.candidates(memory))
          .containsExactly(first, second, acrossAChunk, afterTheChunk, afterAHole, last);
      assertThat(memory.populatedBytes()).isEqualTo(populated).isLessThan(BYTES);
    }
  }

  @Test
  void everyPageOfALargePopulatedRangeIsLookedAt() {
    try (MemFd memory = MemFd.create("heartbeat-test", 4L << 20);
        Mapping mapping = memory.map(true)) {
      mapping.segment().fill((byte) 1);
      for (long at = 0; at < memory.bytes(); at += 16 * PAGE) {
        mark(mapping, at);
      }

      assertThat(Heartbeat.candidates(memory)).hasSize(64).contains((4L << 20) - 16 * PAGE);
    }
  }

  @Test
  void aGuestFullOfPagesGivesTheFirstOfThemOnly() {
    try (MemFd memory = MemFd.create("heartbeat-test", 4L << 20);
        Mapping mapping = memory.map(true)) {
      for (long at = 0; at < memory.bytes(); at += PAGE) {
        mark(mapping, at);
      }

      assertThat(Heartbeat.candidates(memory))
          .hasSize(Heartbeat.MAX_CANDIDATES)
          .contains(0L, 63 * PAGE);
    }
  }

  private static void mark(Mapping mapping, long at) {
    word(mapping, at, Heartbeat.MAGIC_0);
    word(mapping, at + 8, Heartbeat.MAGIC_1);
  }

  private static void word(Mapping mapping, long at, long value) {
    mapping.segment().set(ValueLayout.JAVA_LONG, at, value);
  }
}
