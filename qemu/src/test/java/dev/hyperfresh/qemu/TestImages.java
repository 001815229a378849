package dev.hyperfresh.qemu;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/// Headers of qcow2 images, written by hand so that they can lie.
final class TestImages {
  private static final int HEADER_BYTES = 104;
  private static final int NAME_AT = 512;

  private TestImages() {}

  /// Writes an image that stands on `backing`, of format `format`; on nothing when that is empty.
  static Path qcow2(Path file, String backing, String format) throws IOException {
    return Files.write(file, header(backing, format).array());
  }

  static ByteBuffer header(String backing, String format) {
    byte[] name = backing.getBytes(StandardCharsets.UTF_8);
    byte[] kind = format.getBytes(StandardCharsets.UTF_8);
    ByteBuffer header = ByteBuffer.allocate(4096);
    header.putInt(0, 0x514649fb).putInt(4, 3).putInt(100, HEADER_BYTES);
    if (name.length > 0) {
      header.putLong(8, NAME_AT).putInt(16, name.length).put(NAME_AT, name);
    }
    if (kind.length > 0) {
      // An extension of no interest comes first, with a length that needs padding.
      header.putInt(HEADER_BYTES, 0x6803f857).putInt(HEADER_BYTES + 4, 3);
      int at = HEADER_BYTES + 16;
      header.putInt(at, 0xe2792aca).putInt(at + 4, kind.length).put(at + 8, kind);
    }
    return header;
  }
}
