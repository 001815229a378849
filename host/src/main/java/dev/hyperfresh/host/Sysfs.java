package dev.hyperfresh.host;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// The files below one root folder through which a kernel tells of itself and is told. A path that
/// leads out of the folder is not there.
final class Sysfs {
  /// How a value gets into a file; tests stand between.
  interface Writer {
    /// Writes `value`, in one call since each call is an order of its own to the kernel.
    ///
    /// @throws LinuxException when the kernel refuses
    void write(Path file, String value);
  }

  // More than any file read here holds where it is looked at: the first processor of cpuinfo.
  private static final int READ_BYTES = 64 << 10;

  private final Path root;
  private final Writer writer;

  Sysfs(Path root, Writer writer) {
    this.root = root.toAbsolutePath().normalize();
    this.writer = writer;
  }

  static void writeOnce(Path file, String value) {
    byte[] bytes = (value + "\n").getBytes(StandardCharsets.US_ASCII);
    try (Fd open = Fd.open(file, OpenFlags.WRITE_ONLY | OpenFlags.TRUNCATE)) {
      open.write(bytes, 0, bytes.length);
    }
  }

  /// @param path relative to the root folder
  Path at(String path) {
    return root.resolve(path);
  }

  boolean has(String path) {
    return Files.exists(at(path)) && isInside(at(path));
  }

  /// The first 64 KiB of a file without blanks at the ends.
  ///
  /// @return empty when it is not there
  /// @throws LinuxException when it cannot be read
  Optional<String> read(String path) {
    if (!has(path)) {
      return Optional.empty();
    }
    // One read with room for everything: the kernel answers some files only once.
    byte[] bytes = new byte[READ_BYTES];
    try (Fd file = Fd.open(at(path), OpenFlags.READ_ONLY)) {
      int length = Math.max(0, file.read(bytes, 0, bytes.length));
      return Optional.of(new String(bytes, 0, length, StandardCharsets.UTF_8).strip());
    }
  }

  /// Whether a parameter that is a switch is on: the kernel writes `Y` or a number.
  ///
  /// @return empty when there is no such parameter
  Optional<Boolean> on(String path) {
    return read(path).map(value -> value.equals("Y") || value.equals("1"));
  }

  /// The names in a folder, sorted; none when it is not there.
  List<String> list(String path) {
    if (!has(path) || !Files.isDirectory(at(path))) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(at(path))) {
      return entries.map(entry -> String.valueOf(entry.getFileName())).sorted().toList();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot list " + at(path), e);
    }
  }

  /// The last name of the path that a link holds; it need not lead anywhere.
  ///
  /// @return empty when there is no such link
  Optional<String> target(String link) {
    try {
      return Optional.of(String.valueOf(Files.readSymbolicLink(at(link)).getFileName()));
    } catch (NoSuchFileException absent) {
      return Optional.empty();
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read the link " + at(link), e);
    }
  }

  /// Whether the kernel takes values through this file from this user. Root may open any file, but
  /// none of these that has no write permission at all, so the mode counts too.
  boolean writable(String path) {
    try {
      return has(path)
          && Files.isRegularFile(at(path))
          && Files.getPosixFilePermissions(at(path)).contains(PosixFilePermission.OWNER_WRITE)
          && Files.isWritable(at(path));
    } catch (IOException gone) {
      return false;
    }
  }

  /// Writes a value that [#writable] allows.
  ///
  /// @throws LinuxException when the kernel refuses it
  void write(String path, String value) {
    if (!isInside(at(path))) {
      throw new IllegalArgumentException(at(path) + " leads out of " + root);
    }
    writer.write(at(path), value);
  }

  /// Whether a path, or the folder that it would be made in, really lies below the root.
  boolean isInside(Path path) {
    Path existing = path;
    while (!Files.exists(existing)) {
      Path parent = existing.getParent();
      if (parent == null) {
        return false;
      }
      existing = parent;
    }
    try {
      return existing.toRealPath().startsWith(root.toRealPath());
    } catch (IOException unreachable) {
      return false;
    }
  }
}
