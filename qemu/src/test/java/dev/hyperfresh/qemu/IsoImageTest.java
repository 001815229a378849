package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.qemu.IsoImage.Entry;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// The image is read here as ECMA-119 says, and by the host's own tool where it has one.
@Timeout(20)
class IsoImageTest {
  private static final int SECTOR = 2048;
  private static final int PRIMARY = 16 * SECTOR;
  private static final int JOLIET = 17 * SECTOR;
  private static final String LONG = "x".repeat(5000);

  @TempDir Path folder;

  private final byte[] image =
      new IsoImage(
              "CIDATA",
              List.of(
                  entry("user-data", LONG),
                  entry("meta-data", "instance-id: a\n"),
                  entry("network-config", "")))
          .bytes();

  @Test
  void bothTreesHaveTheSameFiles() {
    assertThat(text(PRIMARY + 40, 32, StandardCharsets.US_ASCII)).isEqualTo("CIDATA");
    assertThat(text(JOLIET + 40, 32, StandardCharsets.UTF_16BE)).isEqualTo("CIDATA");
    assertThat(files(PRIMARY, StandardCharsets.US_ASCII))
        .isEqualTo(
            Map.of("USER_DAT.;1", LONG, "META_DAT.;1", "instance-id: a\n", "NETWORK_.;1", ""));
    assertThat(files(JOLIET, StandardCharsets.UTF_16BE))
        .isEqualTo(
            Map.of("user-data;1", LONG, "meta-data;1", "instance-id: a\n", "network-config;1", ""));
  }

  @Test
  void everyNumberStandsInBothOrders() {
    for (int volume : List.of(PRIMARY, JOLIET)) {
      assertThat(both(volume + 80) * SECTOR).isEqualTo(image.length);
      assertThat(both(volume + 132)).as("of the path table").isEqualTo(10);
      int little = little(volume + 140).getInt();
      int big = ByteBuffer.wrap(image, volume + 148, 4).getInt();
      assertThat(little(little * SECTOR + 2).getInt())
          .as("the root folder")
          .isEqualTo(both(volume + 156 + 2))
          .isEqualTo(ByteBuffer.wrap(image, big * SECTOR + 2, 4).getInt());
      assertThat(image[volume]).isEqualTo((byte) (volume == PRIMARY ? 1 : 2));
    }
    assertThat(image[18 * SECTOR]).isEqualTo((byte) 255);
  }

  @Test
  void theHostKnowsIt() throws Exception {
    Path blkid = Path.of("/usr/sbin/blkid");
    Assumptions.assumeTrue(Files.isExecutable(blkid), blkid + " is missing");
    Path file = Files.write(folder.resolve("seed.iso"), image);
    Process probe =
        new ProcessBuilder(blkid.toString(), "-p", "-o", "export", file.toString())
            .redirectErrorStream(true)
            .start();
    String said = new String(probe.getInputStream().readAllBytes(), StandardCharsets.UTF_8);

    assertThat(said).contains("LABEL=CIDATA", "TYPE=iso9660");
    assertThat(said).contains("Joliet");
  }

  private Map<String, String> files(int volume, Charset charset) {
    Map<String, String> files = new TreeMap<>();
    int folder = both(volume + 156 + 2) * SECTOR;
    int at = folder;
    for (int number = 0; image[at] != 0; number++) {
      int content = both(at + 2) * SECTOR;
      int bytes = both(at + 10);
      if (number < 2) {
        assertThat(content).as("itself, and what is above it").isEqualTo(folder);
        assertThat(bytes).isEqualTo(SECTOR);
      } else {
        files.put(
            new String(image, at + 33, image[at + 32], charset),
            new String(image, content, bytes, StandardCharsets.US_ASCII));
      }
      at += image[at];
    }
    return files;
  }

  private int both(int at) {
    int little = little(at).getInt();
    assertThat(ByteBuffer.wrap(image, at + 4, 4).getInt()).isEqualTo(little);
    return little;
  }

  private ByteBuffer little(int at) {
    return ByteBuffer.wrap(image, at, 4).order(ByteOrder.LITTLE_ENDIAN);
  }

  private String text(int at, int bytes, Charset charset) {
    return new String(image, at, bytes, charset).strip();
  }

  private static Entry entry(String name, String content) {
    return new Entry(name, StandardCharsets.UTF_8.encode(content));
  }
}
