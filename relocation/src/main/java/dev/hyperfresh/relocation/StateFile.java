package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.PrivateFile;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/// A file in which a daemon writes down what the next one has to know. Always whole: a new file
/// takes the old one's place.
final class StateFile {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private static final String ENDING = ".json";

  private StateFile() {}

  /// The file of `name` in a folder that has one for each.
  static Path of(Path folder, String name) {
    return folder.resolve(name + ENDING);
  }

  /// The names of which there is a file in `folder`, sorted; none when there is no folder.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static List<String> names(Path folder) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .map(file -> String.valueOf(file.getFileName()))
          .filter(name -> name.endsWith(ENDING))
          .map(name -> name.substring(0, name.length() - ENDING.length()))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(folder + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// Puts `content` into `file` and returns when it is on disk.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static void write(Path file, Object content) {
    Path draft = file.resolveSibling(file.getFileName() + ".new");
    try (FileChannel out =
        FileChannel.open(
            PrivateFile.at(draft),
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      ByteBuffer bytes = ByteBuffer.wrap(JSON.writeValueAsBytes(content));
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      out.force(true);
      Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// Reads a file, if it is there.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it cannot be
  ///   understood
  static <T> Optional<T> read(Path file, Class<T> type) {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      return Optional.of(JSON.readValue(BoundedFile.read(file, BoundedFile.STATE_BYTES), type));
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static void remove(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
