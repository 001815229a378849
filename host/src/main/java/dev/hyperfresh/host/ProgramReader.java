package dev.hyperfresh.host;

import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/// Reads program files, the content of each once however often it is met, and never more of all
/// together than a bound. Not thread-safe.
final class ProgramReader {
  private static final int MOST_FILES = 64;
  private static final int TEXT_CHARACTERS = 200;

  private final String mark;
  private final Map<Object, ProgramFile> read = new HashMap<>();

  /// @param mark with which the text begins by which a program tells its version
  ProgramReader(String mark) {
    this.mark = mark;
  }

  /// The file at `path`.
  ///
  /// @throws IOException when there is none, or none that is a regular file, or it cannot be read
  ProgramFile read(Path path) throws IOException {
    // A pipe is opened without waiting, and what is looked at is what was opened.
    try (Fd open = Fd.open(path, OpenFlags.READ_ONLY | OpenFlags.NON_BLOCKING)) {
      Path opened = Path.of("/proc/self/fd", Integer.toString(open.number()));
      BasicFileAttributes attributes = Files.readAttributes(opened, BasicFileAttributes.class);
      if (!attributes.isRegularFile()) {
        throw new IOException(path + " is no regular file");
      }
      ProgramFile known = read.get(attributes.fileKey());
      return known != null ? known : remember(attributes.fileKey(), opened);
    } catch (LinuxException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private ProgramFile remember(Object key, Path opened) throws IOException {
    String buildId = "";
    String text = "";
    // Users can run any number of programs of their own; those that are not read have their key.
    if (read.size() < MOST_FILES) {
      try (FileChannel file = FileChannel.open(opened)) {
        Optional<ElfFile> elf = ElfFile.of(file);
        if (elf.isPresent()) {
          buildId = elf.get().buildId();
          text = elf.get().text(mark, TEXT_CHARACTERS);
        }
      }
    }
    FileTime changed = (FileTime) Files.getAttribute(opened, "unix:ctime");
    ProgramFile file = new ProgramFile(key, changed.toInstant(), buildId, text);
    read.put(key, file);
    return file;
  }
}
