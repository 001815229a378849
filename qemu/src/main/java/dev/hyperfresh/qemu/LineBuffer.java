package dev.hyperfresh.qemu;

import java.util.Arrays;

/// Cuts a stream of bytes into lines, each of at most [QmpMessage#MAX_LINE_BYTES]. Looks at every
/// byte once, whatever pieces it comes in. Not thread-safe.
final class LineBuffer {
  private static final int FIRST_BYTES = 32 * 1024;

  /// Takes one line, without its newline; the bytes are valid during the call.
  @FunctionalInterface
  interface Sink {
    void line(byte[] bytes, int length);
  }

  private byte[] bytes = new byte[FIRST_BYTES];
  private int filled;

  /// Takes the next `count` bytes of the stream and hands on every line that they complete.
  ///
  /// @throws QmpMessage.MalformedException as soon as a line is too long
  void add(byte[] chunk, int count, Sink sink) {
    int start = 0;
    for (int i = 0; i < count; i++) {
      if (chunk[i] == '\n') {
        append(chunk, start, i - start);
        start = i + 1;
        int length = filled;
        filled = 0;
        // QEMU ends its lines with CR LF; what holds no more than the CR is no message.
        if (length > 1) {
          sink.line(bytes, length);
        }
        // One long line must not hold its memory for as long as the peer lives.
        if (bytes.length > FIRST_BYTES) {
          bytes = new byte[FIRST_BYTES];
        }
      }
    }
    append(chunk, start, count - start);
  }

  private void append(byte[] from, int offset, int length) {
    if (filled + length > QmpMessage.MAX_LINE_BYTES) {
      throw new QmpMessage.MalformedException(
          "a line of more than " + QmpMessage.MAX_LINE_BYTES + " bytes");
    }
    if (filled + length > bytes.length) {
      bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, filled + length));
    }
    System.arraycopy(from, offset, bytes, filled, length);
    filled += length;
  }
}
