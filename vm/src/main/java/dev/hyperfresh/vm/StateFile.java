package dev.hyperfresh.vm;

import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.FolderNames;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/// A file in which a daemon writes down what the next one has to know: a line of JSON, and one with
/// its sum. Always whole: a new file takes the old one's place, and the sum shows a damaged one.
public final class StateFile {
  private static final JsonMapper JSON = JsonMapper.builder().build();

  private static final Set<PosixFilePermission> OWNER =
      PosixFilePermissions.fromString("rwx------");

  private static final String ENDING = ".json";
  private static final String SUM = "\n#sum ";

  private StateFile() {}

  /// Makes a folder that its owner alone may enter, and those above it, unless they are there.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static Path folder(Path path) {
    try {
      return Files.createDirectories(path, PosixFilePermissions.asFileAttribute(OWNER));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be created: " + e.getMessage(), e);
    }
  }

  /// The file of `name` in a folder that has one for each.
  public static Path of(Path folder, String name) {
    return folder.resolve(name + ENDING);
  }

  /// The names of which there is a file in `folder`, sorted; none when there is no folder.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static List<String> names(Path folder) {
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
  public static void write(Path file, Object content) {
    Path draft = file.resolveSibling(file.getFileName() + ".new");
    try (FileChannel out =
        FileChannel.open(
            PrivateFile.at(draft),
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      String json = JSON.writeValueAsString(content);
      ByteBuffer bytes = StandardCharsets.UTF_8.encode(json + SUM + sum(json) + "\n");
      while (bytes.hasRemaining()) {
        out.write(bytes);
      }
      out.force(true);
      Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// As [#write], and the file is there also when the host loses its power at once. That waits for
  /// the disk once more.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static void keep(Path file, Object content) {
    write(file, content);
    forceNames(file);
  }

  /// As [#remove], and the file is gone also when the host loses its power at once.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static void forget(Path file) {
    if (Files.exists(file)) {
      remove(file);
      forceNames(file);
    }
  }

  /// Has the name of a file written to disk, and that of its folder, which may be new.
  private static void forceNames(Path file) {
    try {
      FolderNames.force(file);
      FolderNames.force(Objects.requireNonNull(file.toAbsolutePath().getParent()));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(
          "The name of " + file + " cannot be written to disk: " + e.getMessage(), e);
    }
  }

  /// As [#read], of a file that has always had a sum.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] also without one
  public static <T> Optional<T> readWithSum(Path file, Class<T> type) {
    return read(file, type, true);
  }

  /// Reads a file, if it is there. An older daemon wrote no sum.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE] when it cannot be
  ///   understood
  public static <T> Optional<T> read(Path file, Class<T> type) {
    return read(file, type, false);
  }

  private static <T> Optional<T> read(Path file, Class<T> type, boolean withSum) {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try {
      byte[] bytes = BoundedFile.read(file, BoundedFile.STATE_BYTES);
      return Optional.of(
          JSON.readValue(checked(new String(bytes, StandardCharsets.UTF_8), withSum), type));
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  private static String checked(String text, boolean withSum) throws IOException {
    int at = text.lastIndexOf(SUM);
    if (at < 0 && withSum) {
      throw new IOException("it is damaged: it has no checksum");
    }
    if (at < 0) {
      return text;
    }
    if (!text.substring(at).equals(SUM + sum(text.substring(0, at)) + "\n")) {
      throw new IOException("it is damaged: its checksum is wrong");
    }
    return text.substring(0, at);
  }

  private static String sum(String json) {
    CRC32C sum = new CRC32C();
    sum.update(json.getBytes(StandardCharsets.UTF_8));
    return Long.toHexString(sum.getValue());
  }

  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static void remove(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be removed: " + e.getMessage(), e);
    }
  }
}
