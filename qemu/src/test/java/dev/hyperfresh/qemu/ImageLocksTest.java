package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.ImageLocks.Lock;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class ImageLocksTest {
  private static final String FILE = "fe:00:2154677";

  @Test
  void theKernelsLinesAreRead() {
    assertThat(
            ImageLocks.parse(
                Stream.of(
                    "1: OFDLCK ADVISORY  READ -1 fe:00:2154677 201 201",
                    "2: POSIX  ADVISORY  WRITE 4711 00:2b:17 0 EOF",
                    "2: -> POSIX  ADVISORY  WRITE 4712 00:2b:17 0 EOF",
                    "3: FLOCK  ADVISORY  WRITE 812 fe:00:99 0 EOF",
                    "lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:2154677 100 101",
                    "flags:\t0100002",
                    "")))
        .containsExactly(
            new Lock(FILE, 201, 201),
            new Lock("00:2b:17", 0, Long.MAX_VALUE),
            new Lock(FILE, 100, 101));
  }

  @Test
  void ownLocksAreLeftOutAsOftenAsTheyAreHeld() {
    Lock uses = new Lock(FILE, 100, 101);
    Lock denies = new Lock(FILE, 201, 201);
    Lock elsewhere = new Lock("fe:00:1", 201, 201);
    List<Lock> own = List.of(uses, denies);

    assertThat(ImageLocks.others(List.of(uses, elsewhere, denies), own)).isEmpty();
    assertThat(ImageLocks.others(List.of(uses, denies, elsewhere, denies), own))
        .containsExactly(denies);
  }

  @Test
  void whoDeniesWritingHindersAWriterOnly() {
    assertThat(new Lock(FILE, 201, 201).hinders(false)).isTrue();
    assertThat(new Lock(FILE, 201, 201).hinders(true)).isFalse();
  }

  @Test
  void whoWritesHindersEverybody() {
    assertThat(new Lock(FILE, 100, 101).hinders(false)).isTrue();
    assertThat(new Lock(FILE, 100, 101).hinders(true)).isTrue();
    assertThat(new Lock(FILE, 0, Long.MAX_VALUE).hinders(true)).isTrue();
  }

  @Test
  void whoOnlyReadsHindersNobody() {
    assertThat(new Lock(FILE, 100, 100).hinders(false)).isFalse();
    assertThat(new Lock(FILE, 103, 103).hinders(false)).isFalse();
  }

  @Test
  void whoDeniesReadingHindersEverybody() {
    assertThat(new Lock(FILE, 200, 200).hinders(true)).isTrue();
  }
}
