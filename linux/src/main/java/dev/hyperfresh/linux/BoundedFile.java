package dev.hyperfresh.linux;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/// Reads a whole file that is expected to be small, whatever it has become. Its length is not
/// believed: files of proc(5) say 0, and others grow while they are read.
public final class BoundedFile {
  /// For a file in which a daemon writes down what the next one has to know: far more than any has.
  public static final int STATE_BYTES = 1 << 20;

  private BoundedFile() {}

  /// All bytes of `file`.
  ///
  /// @param most how many it may have
  /// @throws IOException when it has more, or cannot be read
  public static byte[] read(Path file, int most) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(most);
      if (bytes.length == most && in.read() >= 0) {
        throw new IOException(file + " has more than " + most + " bytes");
      }
      return bytes;
    }
  }
}
