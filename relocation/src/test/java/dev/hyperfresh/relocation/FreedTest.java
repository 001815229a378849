package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.linux.Mapping;
import dev.hyperfresh.linux.MemFd;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// An OS says what it has fetched of another one's memory, and may say anything. The memory has 64
/// pages, of which the container has those from 8 to 16 and from 32 to 36.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class FreedTest {
  private static final int PAGE = 4096;
  private static final int PAGES = 64;
  private static final String WINDOW = "w1";

  @TempDir Path top;

  private ContainerFolder folder;
  private MemFd memory;
  private PageList pages;

  @BeforeEach
  void make() throws IOException {
    folder = new ContainerFolder(top.resolve("c1"));
    folder.make();
    memory = MemFd.create("old-os", (long) PAGES * PAGE);
    try (Mapping mapping = memory.map(true)) {
      mapping.segment().fill((byte) 1);
    }
    pages = list(new long[][] {{8, 8}, {32, 4}}, PAGES);
  }

  @AfterEach
  void close() {
    memory.close();
  }

  /// @param runs each with its first frame and its length
  private PageList list(long[][] runs, int all) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(24 + runs.length * 24).order(ByteOrder.LITTLE_ENDIAN);
    bytes.position(24);
    for (long[] run : runs) {
      bytes.putLong(0x1000).putLong(run[0]).putInt((int) run[1]).putInt(1);
    }
    Path file = Files.write(top.resolve("pages"), bytes.array());
    try (FileChannel in = FileChannel.open(file)) {
      return PageList.read(in, (long) all * PAGE, (long) all * PAGE);
    }
  }

  private long populated() {
    return memory.populatedBytes() / PAGE;
  }

  private Path file() {
    return folder.share().resolve(ContainerFolder.freed(WINDOW));
  }

  /// What is written down after the move has begun.
  private void told(String text) throws IOException {
    FileChannel file = folder.makeFreed(WINDOW);
    Freed freed = new Freed("old", memory, file, pages);
    Files.writeString(file(), text, StandardOpenOption.APPEND);
    freed.close();
  }

  @Test
  void whatIsFetchedIsGivenBack() throws IOException {
    told("freed 8 3\nfreed 11 5\nfreed 33 1\nfreed 3");
    assertThat(populated()).isEqualTo(PAGES - 9);
    assertThat(memory.nextHole(0)).isEqualTo(8L * PAGE);
  }

  @Test
  void whatAnEarlierMoveHasLeftTakesNothingAway() throws IOException {
    Files.writeString(file(), "freed 0 64\nfreed 8 8\n");
    Files.writeString(folder.share().resolve("freed"), "freed 8 8\n");
    try (FileChannel stale = FileChannel.open(file(), StandardOpenOption.WRITE)) {
      FileChannel file = folder.makeFreed(WINDOW);
      Freed freed = new Freed("old", memory, file, pages);
      stale.write(ByteBuffer.wrap("freed 8 8\n".getBytes(StandardCharsets.US_ASCII)));
      freed.close();
    }
    assertThat(populated()).isEqualTo(PAGES);
    folder.forgetFreed(WINDOW);
    assertThat(folder.findFreed(WINDOW)).isEmpty();
  }

  @Test
  void otherFramesThanTheContainersStay() throws IOException {
    told("freed 0 8\nfreed 6 4\n");
    assertThat(populated()).isEqualTo(PAGES - 2);
    assertThat(memory.nextHole(0)).isEqualTo(8L * PAGE);
    assertThat(memory.nextData(8L * PAGE)).hasValue(10L * PAGE);
  }

  @Test
  void moreThanThereWasIsNotBelieved() throws IOException {
    for (String line :
        new String[] {
          "freed 0 64\n",
          "freed 8 13\n",
          "freed 999999999999999 999999999999999\n",
          "freed 8 0\n",
          "freed 2147483647 1\n",
          "freed -8 1\n",
          "freed 8 1 \n",
          "\n",
          "x".repeat(1 << 20)
        }) {
      told(line + "freed 8 1\n");
      assertThat(populated()).as(line.strip()).isEqualTo(PAGES);
    }
    // Each page but once: then no more is read.
    told("freed 0 12\nfreed 8 1\n");
    assertThat(populated()).isEqualTo(PAGES - 4);
  }

  @Test
  void aFileOfTerabytesIsNotReadToItsEnd() throws IOException {
    FileChannel file = folder.makeFreed(WINDOW);
    try (FileChannel out = FileChannel.open(file(), StandardOpenOption.WRITE)) {
      out.write(ByteBuffer.wrap(new byte[] {'\n'}), 1L << 42);
    }
    new Freed("old", memory, file, pages).close();
    assertThat(populated()).isEqualTo(PAGES);
  }

  /// Half of the memory in single pages, a line each: as slow as it can be made.
  @Test
  void theWorkGrowsWithTheMemoryAndNotWithItsSquare() throws IOException {
    int all = 1 << 19;
    long[][] runs = new long[all / 2][];
    for (int i = 0; i < runs.length; i++) {
      runs[i] = new long[] {2L * i, 1};
    }
    pages = list(runs, all);
    try (MemFd large = MemFd.create("old-os", (long) all * PAGE)) {
      FileChannel file = folder.makeFreed(WINDOW);
      // Before the first listed frame again and again, and never at one.
      Files.writeString(file(), "freed 1 1\n".repeat(all / 2));
      new Freed("old", large, file, pages).close();
    }
  }

  @Test
  void aListIsReadInPart() throws IOException {
    assertThat(pages.bytes()).isEqualTo(12L * PAGE);
    assertThat(pages.frames().cardinality()).isEqualTo(12);
    // Runs that reach beyond the memory, or lie there.
    PageList wild = list(new long[][] {{60, 0xffff_ffffL}, {-1, 5}, {1L << 60, 5}}, PAGES);
    assertThat(wild.frames().cardinality()).isEqualTo(4);
    assertThat(wild.bytes()).isEqualTo(4L * PAGES * PAGE);
    Path sparse = top.resolve("sparse");
    try (FileChannel file =
        FileChannel.open(
            sparse, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      file.write(ByteBuffer.wrap(new byte[1]), 1L << 42);
      assertThat(PageList.read(file, (long) PAGES * PAGE, (long) PAGES * PAGE).frames().length())
          .isLessThanOrEqualTo(PAGES);
    }
  }

  /// A machine has at most 3 GiB of its memory below 4 GiB.
  @Test
  void framesAbove4GibAreThoseAfterTheSplit() throws IOException {
    long gib = 1L << 30;
    ByteBuffer bytes = ByteBuffer.allocate(48).order(ByteOrder.LITTLE_ENDIAN);
    bytes.position(24);
    bytes.putLong(0x1000).putLong(4 * gib / PAGE + 5).putInt(2).putInt(1);
    Path file = Files.write(top.resolve("pages"), bytes.array());
    try (FileChannel in = FileChannel.open(file)) {
      PageList high = PageList.read(in, 5 * gib, 3 * gib);
      assertThat(high.frames().nextSetBit(0)).isEqualTo((int) (3 * gib / PAGE) + 5);
      assertThat(high.frames().cardinality()).isEqualTo(2);
    }
  }
}
