package dev.hyperfresh.host;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;

/// A file in the format of a program that has nothing but a build id and a text.
final class TestElf {
  private static final int HEADER = 64;
  private static final int SECTION = 64;
  private static final String NAMES = "\0.shstrtab\0.note.gnu.build-id\0.rodata\0";

  private TestElf() {}

  static byte[] of(String buildId, String text) {
    byte[] note = note(HexFormat.of().parseHex(buildId));
    byte[] data = ("some\0text\0" + text + "\0more").getBytes(StandardCharsets.ISO_8859_1);
    byte[] names = NAMES.getBytes(StandardCharsets.US_ASCII);
    int at = HEADER + note.length + data.length + names.length;
    ByteBuffer file = ByteBuffer.allocate(at + 4 * SECTION).order(ByteOrder.LITTLE_ENDIAN);
    file.putInt(0x464c457f).putShort((short) 0x0102);
    file.putLong(0x28, at).putShort(0x3a, (short) SECTION);
    file.putShort(0x3c, (short) 4).putShort(0x3e, (short) 1);
    file.position(HEADER).put(note).put(data).put(names);
    section(file, at + SECTION, ".shstrtab", HEADER + note.length + data.length, names.length);
    section(file, at + 2 * SECTION, ".note.gnu.build-id", HEADER, note.length);
    section(file, at + 3 * SECTION, ".rodata", HEADER + note.length, data.length);
    return file.array();
  }

  private static void section(ByteBuffer file, int at, String name, long from, long length) {
    file.putInt(at, NAMES.indexOf(name)).putLong(at + 0x18, from).putLong(at + 0x20, length);
  }

  private static byte[] note(byte[] id) {
    ByteBuffer note = ByteBuffer.allocate(16 + id.length).order(ByteOrder.LITTLE_ENDIAN);
    return note.putInt(4)
        .putInt(id.length)
        .putInt(3)
        .put("GNU\0".getBytes(StandardCharsets.US_ASCII))
        .put(id)
        .array();
  }

  static Path write(Path file, String buildId, String text) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    return Files.write(file, of(buildId, text));
  }
}
