package dev.hyperfresh.qemu;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/// An image of a CD (ECMA-119) with files in its root folder: under short names, and by the
/// extension Joliet under those that they have. The same files make the same bytes.
///
/// @param label of the volume, 1 to 16 upper-case letters and digits
record IsoImage(String label, List<Entry> files) {
  private static final int SECTOR = 2048;

  /// The descriptors of the volume begin here.
  private static final int FIRST = 16;

  private static final int PATHS = FIRST + 3;
  private static final int FOLDERS = PATHS + 4;
  private static final int CONTENTS = FOLDERS + 2;

  /// Of a record of a folder, before the name.
  private static final int RECORD = 33;

  /// Of a path table with the root folder alone.
  private static final int PATH_BYTES = 10;

  private static final int SHORT_NAME = 8;
  private static final byte FOLDER = 2;

  /// Joliet's level 3 of UCS-2.
  private static final String ESCAPE = "%/E";

  /// A file.
  ///
  /// @param name letters, digits and `-`, at most 30, of which the first eight differ from those of
  ///   all others
  record Entry(String name, ByteBuffer content) {
    private int bytes() {
      return content.remaining();
    }

    private int sectors() {
      return Math.ceilDiv(bytes(), SECTOR);
    }
  }

  /// How names are written in one of the two trees.
  private enum Tree {
    SHORT(0, StandardCharsets.US_ASCII) {
      @Override
      String name(String name) {
        String upper = name.toUpperCase(Locale.ROOT).replace('-', '_');
        return upper.substring(0, Math.min(SHORT_NAME, upper.length())) + ".";
      }
    },
    LONG(1, StandardCharsets.UTF_16BE) {
      @Override
      String name(String name) {
        return name;
      }
    };

    private final int number;
    private final Charset charset;

    Tree(int number, Charset charset) {
      this.number = number;
      this.charset = charset;
    }

    abstract String name(String name);

    byte[] identifier(String name) {
      return (name(name) + ";1").getBytes(charset);
    }

    int folder() {
      return FOLDERS + number;
    }

    int paths() {
      return PATHS + 2 * number;
    }
  }

  IsoImage {
    files = files.stream().sorted((a, b) -> a.name().compareTo(b.name())).toList();
  }

  /// The whole image.
  byte[] bytes() {
    int sectors = CONTENTS + files.stream().mapToInt(Entry::sectors).sum();
    ByteBuffer image = ByteBuffer.allocate(sectors * SECTOR);
    for (Tree tree : Tree.values()) {
      describe(sector(image, FIRST + tree.number), tree, sectors);
      paths(sector(image, tree.paths()).order(ByteOrder.LITTLE_ENDIAN), tree);
      paths(sector(image, tree.paths() + 1), tree);
      folder(sector(image, tree.folder()), tree);
    }
    sector(image, FIRST + 2).put((byte) 0xff).put(ascii("CD001")).put((byte) 1);
    int at = CONTENTS;
    for (Entry file : files) {
      image.put(at * SECTOR, file.content(), file.content().position(), file.bytes());
      at += file.sectors();
    }
    return image.array();
  }

  private static ByteBuffer sector(ByteBuffer image, int number) {
    return image.slice(number * SECTOR, SECTOR);
  }

  private void describe(ByteBuffer volume, Tree tree, int sectors) {
    volume.put((byte) (tree == Tree.SHORT ? 1 : 2)).put(ascii("CD001")).put((byte) 1);
    text(volume, 8, 32, "", tree);
    text(volume, 40, 32, label, tree);
    both(volume.position(80), sectors);
    if (tree == Tree.LONG) {
      volume.put(88, ascii(ESCAPE));
    }
    both16(volume.position(120), 1);
    both16(volume, 1);
    both16(volume, SECTOR);
    both(volume, PATH_BYTES);
    volume.putInt(140, Integer.reverseBytes(tree.paths()));
    volume.putInt(148, tree.paths() + 1);
    listed(volume.position(156), tree.folder(), SECTOR, FOLDER, new byte[1]);
    for (int at = 190; at < 702; at += 128) {
      text(volume, at, 128, "", tree);
    }
    for (int at = 702; at < 813; at += 37) {
      text(volume, at, 37, "", tree);
    }
    for (int at = 813; at < 881; at += 17) {
      // Not given.
      volume.put(at, ascii("0".repeat(16)));
    }
    volume.put(881, (byte) 1);
  }

  /// Filled with blanks; the last byte of an odd length stays 0.
  private static void text(ByteBuffer volume, int at, int bytes, String text, Tree tree) {
    int width = tree == Tree.SHORT ? 1 : 2;
    String filled = text + " ".repeat(bytes / width - text.length());
    volume.put(at, filled.getBytes(tree.charset));
  }

  private static void paths(ByteBuffer table, Tree tree) {
    table.put((byte) 1).put((byte) 0).putInt(tree.folder()).putShort((short) 1);
  }

  private void folder(ByteBuffer folder, Tree tree) {
    listed(folder, tree.folder(), SECTOR, FOLDER, new byte[] {0});
    listed(folder, tree.folder(), SECTOR, FOLDER, new byte[] {1});
    int at = CONTENTS;
    for (Entry file : files) {
      listed(folder, at, file.bytes(), (byte) 0, tree.identifier(file.name()));
      at += file.sectors();
    }
  }

  private static void listed(
      ByteBuffer folder, int sector, int bytes, byte flags, byte[] identifier) {
    int length = Math.ceilDiv(RECORD + identifier.length, 2) * 2;
    int start = folder.position();
    folder.put((byte) length).put((byte) 0);
    both(folder, sector);
    both(folder, bytes);
    // The first day of 1980, as those write that know no time.
    folder.put(new byte[] {80, 1, 1, 0, 0, 0, 0}).put(flags).putShort((short) 0);
    both16(folder, 1);
    folder.put((byte) identifier.length).put(identifier);
    folder.position(start + length);
  }

  private static void both(ByteBuffer to, int number) {
    to.putInt(Integer.reverseBytes(number)).putInt(number);
  }

  private static void both16(ByteBuffer to, int number) {
    to.putShort(Short.reverseBytes((short) number)).putShort((short) number);
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }
}
