package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/// The write-ahead log of replacements: one line for each state a replacement enters, on disk
/// before the replacement acts on it. Thread-safe.
///
/// A line is `time id guest state from-generation to-generation release`, separated by spaces; none
/// of the fields can hold one.
public final class Journal implements AutoCloseable {
  private final FileChannel file;
  private final Path path;

  /// One line.
  public record Entry(
      Instant at,
      String id,
      String guest,
      String state,
      int fromGeneration,
      int toGeneration,
      String release) {

    /// Whether the replacement was still under way when this was written.
    public boolean open() {
      return !List.of("Retired", "RolledBack", "Failed").contains(state);
    }

    private String line() {
      return String.join(
              " ",
              at.toString(),
              id,
              guest,
              state,
              Integer.toString(fromGeneration),
              Integer.toString(toGeneration),
              release)
          + "\n";
    }
  }

  private Journal(Path path, FileChannel file) {
    this.path = path;
    this.file = file;
  }

  /// Opens or creates the journal at `path`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static Journal open(Path path) {
    try {
      return new Journal(
          path,
          FileChannel.open(
              path,
              StandardOpenOption.CREATE,
              StandardOpenOption.WRITE,
              StandardOpenOption.APPEND));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be opened: " + e.getMessage(), e);
    }
  }

  /// Appends `entry` and returns when it is on disk. Never called inside the blackout.
  public synchronized void write(Entry entry) {
    try {
      ByteBuffer bytes = ByteBuffer.wrap(entry.line().getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        file.write(bytes);
      }
      file.force(false);
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// The last entry of every replacement that had not ended, oldest first. A torn last line, which
  /// a power failure can leave, is ignored: what it announced was not begun.
  public static List<Entry> unfinished(Path path) {
    if (!Files.exists(path)) {
      return List.of();
    }
    Map<String, Entry> last = new LinkedHashMap<>();
    try {
      for (String line : Files.readAllLines(path, StandardCharsets.UTF_8)) {
        String[] fields = line.split(" ");
        if (fields.length == 7) {
          last.put(fields[1], parse(fields));
        }
      }
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be read: " + e.getMessage(), e);
    }
    return last.values().stream().filter(Entry::open).toList();
  }

  private static Entry parse(String[] fields) {
    return new Entry(
        Instant.parse(fields[0]),
        fields[1],
        fields[2],
        fields[3],
        Integer.parseInt(fields[4]),
        Integer.parseInt(fields[5]),
        fields[6]);
  }

  @Override
  public void close() {
    try {
      file.close();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be closed: " + e.getMessage(), e);
    }
  }
}
