package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.Fd;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;

/// The part of a qcow2 image that names the image below it. Source: QEMU's
/// `docs/interop/qcow2.txt`.
///
/// Whoever wrote the image wrote this, so every number in it is doubted.
///
/// @param backing the name of the image below, as it stands there, or empty
/// @param backingFormat its format, or empty when it does not say
/// @param externalData whether the data lies in another file, which no name can be trusted for
record Qcow2Header(Optional<String> backing, Optional<String> backingFormat, boolean externalData) {
  private static final int READ_BYTES = 64 << 10;
  private static final int MAGIC = 0x514649fb;
  private static final int VERSION_2_BYTES = 72;
  private static final int INCOMPATIBLE_AT = 72;
  private static final int LENGTH_AT = 100;
  private static final int EXTERNAL_DATA_BIT = 1 << 2;
  private static final int BACKING_FORMAT = 0xe2792aca;
  private static final int LONGEST_NAME = 1023;

  /// Reads the header of the open image `file`.
  ///
  /// @throws IllegalArgumentException when it is not a header of version 2 or 3
  static Qcow2Header read(Fd file) {
    byte[] bytes = new byte[READ_BYTES];
    int filled = 0;
    for (int got = 0; got >= 0 && filled < bytes.length; filled += Math.max(got, 0)) {
      got = file.read(bytes, filled, bytes.length - filled);
    }
    return parse(ByteBuffer.wrap(Arrays.copyOf(bytes, filled)));
  }

  static Qcow2Header parse(ByteBuffer header) {
    require(header.limit() >= VERSION_2_BYTES && header.getInt(0) == MAGIC, "it is not qcow2");
    int version = header.getInt(4);
    require(version == 2 || version == 3, "its version " + version + " is unknown");
    require(version == 2 || header.limit() >= LENGTH_AT + 4, "its header is cut off");
    boolean external = version == 3 && (header.getLong(INCOMPATIBLE_AT) & EXTERNAL_DATA_BIT) != 0;
    long at = header.getLong(8);
    if (at == 0) {
      return new Qcow2Header(Optional.empty(), Optional.empty(), external);
    }
    int length = header.getInt(16);
    require(length > 0 && length <= LONGEST_NAME, "the name of its backing file is too long");
    require(
        at > 0 && at + length <= header.limit(),
        "the name of its backing file is too far from the start");
    int extensions = version == 2 ? VERSION_2_BYTES : header.getInt(LENGTH_AT);
    return new Qcow2Header(
        Optional.of(text(header, (int) at, length)), backingFormat(header, extensions), external);
  }

  /// Header extensions: type, length, and as many bytes, padded to eight.
  private static Optional<String> backingFormat(ByteBuffer header, int first) {
    long at = first;
    while (at >= VERSION_2_BYTES && at + 8 <= header.limit()) {
      int type = header.getInt((int) at);
      long length = Integer.toUnsignedLong(header.getInt((int) at + 4));
      if (type == 0 || at + 8 + length > header.limit()) {
        return Optional.empty();
      }
      if (type == BACKING_FORMAT) {
        return Optional.of(text(header, (int) at + 8, (int) length));
      }
      at += 8 + (length + 7) / 8 * 8;
    }
    return Optional.empty();
  }

  private static String text(ByteBuffer header, int at, int length) {
    byte[] text = new byte[length];
    header.get(at, text);
    return new String(text, StandardCharsets.UTF_8);
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }
}
