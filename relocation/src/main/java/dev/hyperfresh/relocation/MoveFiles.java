package dev.hyperfresh.relocation;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/// What a move writes into a container's folder.
///
/// @param home the container's folder on this host
record MoveFiles(Path home) {
  /// `struct header` and `struct run` of `relocate.c`.
  private static final int HEADER_BYTES = 24;

  private static final int RUN_BYTES = 24;
  private static final int COUNT_OFFSET = 16;

  /// What an OS that fetches the container's memory has fetched.
  Path freed() {
    return home.resolve("freed");
  }

  /// What CRIU has written down of it.
  private Path images() {
    return home.resolve("images");
  }

  /// Whether all that CRIU has written down of it is there.
  boolean hasImages() {
    return Files.exists(images().resolve("state.json"));
  }

  void forgetFreed() {
    delete(freed());
  }

  void forgetImages() {
    // With this one gone, the others are not used.
    delete(images().resolve("state.json"));
    delete(images());
  }

  /// The bytes of the pages that were written down; 0 when that cannot be read.
  long memoryBytes() {
    Path list = images().resolve("pages");
    try (InputStream in = new BufferedInputStream(Files.newInputStream(list))) {
      in.skipNBytes(HEADER_BYTES);
      long pages = 0;
      for (byte[] run = in.readNBytes(RUN_BYTES);
          run.length == RUN_BYTES;
          run = in.readNBytes(RUN_BYTES)) {
        pages +=
            Integer.toUnsignedLong(
                ByteBuffer.wrap(run).order(ByteOrder.LITTLE_ENDIAN).getInt(COUNT_OFFSET));
      }
      return pages << 12;
    } catch (IOException e) {
      return 0;
    }
  }

  /// The bytes that CRIU has written down; 0 when that cannot be read.
  long imageBytes() {
    try (Stream<Path> files = Files.list(images())) {
      return files.mapToLong(file -> file.toFile().length()).sum();
    } catch (IOException e) {
      return 0;
    }
  }

  private static void delete(Path path) {
    try (Stream<Path> files = Files.exists(path) ? Files.walk(path) : Stream.empty()) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    } catch (IOException | UncheckedIOException e) {
      System.getLogger(MoveFiles.class.getName())
          .log(System.Logger.Level.WARNING, path + " cannot be removed", e);
    }
  }
}
