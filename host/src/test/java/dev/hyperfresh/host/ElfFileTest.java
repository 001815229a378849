package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ElfFileTest {
  private static final String MARK = "QEMU emulator version ";

  @TempDir Path folder;

  private record Seen(String buildId, String text) {}

  @Test
  void itsBuildIdAndItsTextAreFound() throws IOException {
    byte[] elf = TestElf.of("0fbbd5ca8d2d0a32", MARK + "10.0.2 (Debian 1:10.0.2+ds-2)\n");

    assertThat(seen(elf))
        .contains(new Seen("0fbbd5ca8d2d0a32", MARK + "10.0.2 (Debian 1:10.0.2+ds-2)\n"));
  }

  @Test
  void aTextIsCut() throws IOException {
    byte[] elf = TestElf.of("00", MARK + "7".repeat(1000));

    assertThat(seen(elf)).get().extracting(seen -> seen.text().length()).isEqualTo(100);
  }

  @Test
  void aProgramOfThisHostHasAnId() throws IOException {
    try (FileChannel file = FileChannel.open(Path.of("/proc/self/exe"))) {
      assertThat(ElfFile.of(file)).isPresent();
    }
  }

  @Test
  void whatIsNoProgramHasNeither() throws IOException {
    assertThat(seen(new byte[0])).isEmpty();
    assertThat(seen("#!/bin/sh\nexec true\n".getBytes(StandardCharsets.US_ASCII))).isEmpty();
    assertThat(seen(new byte[1000])).isEmpty();
  }

  /// Whoever starts a program may have written it.
  @Test
  void noByteOfItIsBelieved() throws IOException {
    byte[] good = TestElf.of("0fbbd5ca8d2d0a32", MARK + "10.0.2");
    Random random = new Random(1);
    for (int i = 0; i < 2000; i++) {
      byte[] bad = good.clone();
      for (int changes = random.nextInt(1, 8); changes > 0; changes--) {
        bad[random.nextInt(bad.length)] = (byte) random.nextInt();
      }
      Optional<Seen> seen = seen(bad);
      assertThat(seen.map(s -> s.buildId().length()).orElse(0)).isLessThanOrEqualTo(128);
      assertThat(seen.map(s -> s.text().length()).orElse(0)).isLessThanOrEqualTo(100);
    }
  }

  private Optional<Seen> seen(byte[] content) throws IOException {
    Path path = Files.write(folder.resolve("program"), content);
    try (FileChannel file = FileChannel.open(path)) {
      Optional<ElfFile> elf = ElfFile.of(file);
      return elf.isEmpty()
          ? Optional.empty()
          : Optional.of(new Seen(elf.get().buildId(), elf.get().text(MARK, 100)));
    }
  }
}
