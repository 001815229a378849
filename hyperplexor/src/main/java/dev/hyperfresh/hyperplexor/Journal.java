package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.FolderNames;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32C;

/// The write-ahead log of replacements: one line for each state a replacement enters, on disk
/// before the replacement acts on it. Thread-safe.
///
/// A line is `time id guest state from-generation to-generation release checksum`, separated by
/// spaces; none of the fields can hold one. The checksum is the CRC-32C of all before it, eight
/// hexadecimal digits: a line that a power failure tore is known by it, wherever it was torn.
///
/// A journal of more than [#MAX_BYTES] is compacted when it is opened and when a replacement ends:
/// what has not ended goes into a new file, which takes the old one's place once it is on disk.
public final class Journal implements AutoCloseable {
  /// From which size on a journal is compacted: some thousand replacements.
  public static final long MAX_BYTES = 1 << 20;

  private static final System.Logger LOG = System.getLogger(Journal.class.getName());

  private final Path path;
  private final long maxBytes;
  private FileChannel file;

  /// Whether the file is known to be found under its name after a power failure.
  private boolean placed;

  /// Whether the file may end inside a line, which the next one must not continue.
  private boolean torn;

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
      String fields =
          String.join(
              " ",
              at.toString(),
              id,
              guest,
              state,
              Integer.toString(fromGeneration),
              Integer.toString(toGeneration),
              release);
      return fields + " " + checksum(fields) + "\n";
    }

    private static Optional<Entry> parse(String latin1) {
      String line =
          new String(latin1.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
      int end = line.lastIndexOf(' ');
      if (end < 0 || !line.substring(end + 1).equals(checksum(line.substring(0, end)))) {
        return Optional.empty();
      }
      String[] fields = line.substring(0, end).split(" ", -1);
      return Optional.of(
          new Entry(
              Instant.parse(fields[0]),
              fields[1],
              fields[2],
              fields[3],
              Integer.parseInt(fields[4]),
              Integer.parseInt(fields[5]),
              fields[6]));
    }

    private static String checksum(String fields) {
      CRC32C crc = new CRC32C();
      crc.update(fields.getBytes(StandardCharsets.UTF_8));
      return HexFormat.of().toHexDigits((int) crc.getValue());
    }
  }

  private Journal(Path path, long maxBytes, FileChannel file, boolean torn) {
    this.path = path;
    this.maxBytes = maxBytes;
    this.file = file;
    this.torn = torn;
  }

  /// Opens or creates the journal at `path`.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public static Journal open(Path path) {
    return open(path, MAX_BYTES);
  }

  /// As the other one, compacting from another size on.
  static Journal open(Path path, long maxBytes) {
    try {
      boolean whole = endsWithNewline(path);
      Journal journal = new Journal(path, maxBytes, appending(path), !whole);
      journal.compact();
      return journal;
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be opened: " + e.getMessage(), e);
    }
  }

  private static FileChannel appending(Path path) throws IOException {
    return FileChannel.open(
        PrivateFile.at(path), StandardOpenOption.WRITE, StandardOpenOption.APPEND);
  }

  private static boolean endsWithNewline(Path path) throws IOException {
    if (!Files.exists(path)) {
      return true;
    }
    try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ)) {
      ByteBuffer last = ByteBuffer.allocate(1);
      return file.size() == 0 || (file.read(last, file.size() - 1) == 1 && last.get(0) == '\n');
    }
  }

  /// Appends `entry` and returns when it is on disk. Never called inside the blackout.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  public synchronized void write(Entry entry) {
    try {
      String line = torn ? "\n" + entry.line() : entry.line();
      torn = true;
      write(file, line);
      torn = false;
      file.force(false);
      place();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be written: " + e.getMessage(), e);
    }
    // A replacement that goes on is not to wait for it.
    if (!entry.open()) {
      compact();
    }
  }

  private static void write(FileChannel file, String text) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    while (bytes.hasRemaining()) {
      file.write(bytes);
    }
  }

  /// Has the file's name written to disk, once.
  private void place() throws IOException {
    if (!placed) {
      FolderNames.force(path);
      placed = true;
    }
  }

  /// Leaves only what has not ended, if the file is too large. When that fails, such as on a full
  /// disk, the file stays as it is.
  private void compact() {
    Path draft = path.resolveSibling(path.getFileName() + ".new");
    try {
      if (file.size() <= maxBytes) {
        return;
      }
      Files.deleteIfExists(draft);
      FileChannel next = appending(draft);
      try {
        write(next, unfinished(path).stream().map(Entry::line).collect(Collectors.joining()));
        next.force(true);
        Files.move(draft, path, StandardCopyOption.ATOMIC_MOVE);
      } catch (IOException | RuntimeException e) {
        next.close();
        Files.deleteIfExists(draft);
        throw e;
      }
      FileChannel old = file;
      file = next;
      torn = false;
      placed = false;
      old.close();
      place();
    } catch (IOException | HyperFreshException e) {
      LOG.log(System.Logger.Level.WARNING, path + " could not be compacted", e);
    }
  }

  /// The last entry of every replacement that had not ended, oldest first. Torn lines, which a
  /// power failure or a full disk can leave, are ignored: what they announced was not begun.
  public static List<Entry> unfinished(Path path) {
    if (!Files.exists(path)) {
      return List.of();
    }
    Map<String, Entry> last = new LinkedHashMap<>();
    // A block that never reached the disk need not be UTF-8; every byte is a character here.
    try (Stream<String> lines = Files.lines(path, StandardCharsets.ISO_8859_1)) {
      lines
          .map(Entry::parse)
          .flatMap(Optional::stream)
          .forEach(entry -> last.put(entry.id(), entry));
    } catch (IOException | UncheckedIOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be read: " + e.getMessage(), e);
    }
    return last.values().stream().filter(Entry::open).toList();
  }

  @Override
  public synchronized void close() {
    try {
      file.close();
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(path + " cannot be closed: " + e.getMessage(), e);
    }
  }
}
