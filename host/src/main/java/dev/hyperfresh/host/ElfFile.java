package dev.hyperfresh.host;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Optional;

/// A program file in the format of elf(5), 64 bits and little-endian: its build id, and texts in
/// its read-only data. The file may have been written by anybody, so that nothing in it is believed
/// and only parts of it are read. One that is in another format has neither.
final class ElfFile {
  /// How much of its read-only data is looked through; that of a QEMU has 2 MiB.
  static final int DATA_BYTES = 8 << 20;

  private static final int HEADER_BYTES = 64;
  private static final int SECTION_BYTES = 64;
  private static final int MOST_SECTIONS = 1000;
  private static final int NAMES_BYTES = 64 << 10;
  private static final int NOTE_BYTES = 4 << 10;
  private static final int MOST_ID_BYTES = 64;

  // NT_GNU_BUILD_ID
  private static final int BUILD_ID = 3;

  private final FileChannel file;
  private final ByteBuffer sections;
  private final ByteBuffer names;

  private ElfFile(FileChannel file, ByteBuffer sections, ByteBuffer names) {
    this.file = file;
    this.sections = sections;
    this.names = names;
  }

  /// Looks into `file`, which stays open.
  ///
  /// @return empty when it is in another format
  /// @throws IOException when it cannot be read
  static Optional<ElfFile> of(FileChannel file) throws IOException {
    ByteBuffer header = read(file, 0, HEADER_BYTES);
    // "\x7fELF", 64 bits, little-endian
    if (header.limit() < HEADER_BYTES
        || header.getInt(0) != 0x464c457f
        || header.getShort(4) != 0x0102) {
      return Optional.empty();
    }
    int count = Short.toUnsignedInt(header.getShort(0x3c));
    int namesIndex = Short.toUnsignedInt(header.getShort(0x3e));
    if (header.getShort(0x3a) != SECTION_BYTES || count > MOST_SECTIONS || namesIndex >= count) {
      return Optional.empty();
    }
    ByteBuffer sections = read(file, header.getLong(0x28), count * SECTION_BYTES);
    if (sections.limit() < count * SECTION_BYTES) {
      return Optional.empty();
    }
    return Optional.of(
        new ElfFile(file, sections, content(file, sections, namesIndex, NAMES_BYTES)));
  }

  /// Its build id (`--build-id` of the linker) in hexadecimal digits; empty when it has none.
  String buildId() throws IOException {
    ByteBuffer note = section(".note.gnu.build-id", NOTE_BYTES);
    if (note.limit() < 12) {
      return "";
    }
    int name = note.getInt(0);
    int length = note.getInt(4);
    int from = 12 + (name + 3) / 4 * 4;
    if (note.getInt(8) != BUILD_ID
        || name != 4
        || length <= 0
        || length > MOST_ID_BYTES
        || from + length > note.limit()) {
      return "";
    }
    byte[] id = new byte[length];
    note.get(from, id);
    return HexFormat.of().formatHex(id);
  }

  /// The first text in its read-only data that begins with `mark`, up to its end or to `most`
  /// characters.
  ///
  /// @return empty when there is none in what is looked through
  String text(String mark, int most) throws IOException {
    ByteBuffer data = section(".rodata", DATA_BYTES);
    String all = StandardCharsets.ISO_8859_1.decode(data.duplicate().rewind()).toString();
    int at = all.indexOf(mark);
    if (at < 0) {
      return "";
    }
    int end = all.indexOf('\0', at);
    int whole = end < 0 ? all.length() : end;
    return all.substring(at, Math.min(whole, at + most));
  }

  private ByteBuffer section(String name, int most) throws IOException {
    for (int i = 0; i < sections.limit() / SECTION_BYTES; i++) {
      if (name(sections.getInt(i * SECTION_BYTES)).equals(name)) {
        return content(file, sections, i, most);
      }
    }
    return ByteBuffer.allocate(0);
  }

  private String name(int offset) {
    StringBuilder name = new StringBuilder();
    for (int i = offset; i >= 0 && i < names.limit() && names.get(i) != 0; i++) {
      name.append((char) names.get(i));
      // Longer than any that is looked for.
      if (name.length() > 32) {
        break;
      }
    }
    return name.toString();
  }

  private static ByteBuffer content(FileChannel file, ByteBuffer sections, int index, int most)
      throws IOException {
    int at = index * SECTION_BYTES;
    long length = sections.getLong(at + 0x20);
    return read(file, sections.getLong(at + 0x18), Math.clamp(length, 0, most));
  }

  /// As much of what is asked for as the file has.
  private static ByteBuffer read(FileChannel file, long offset, int length) throws IOException {
    int there = offset < 0 ? 0 : Math.clamp(file.size() - offset, 0, length);
    ByteBuffer bytes = ByteBuffer.allocate(there).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining() && file.read(bytes, offset + bytes.position()) >= 0) {
      // More may come.
    }
    return bytes.flip();
  }
}
