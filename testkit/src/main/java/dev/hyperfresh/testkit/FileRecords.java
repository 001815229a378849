package dev.hyperfresh.testkit;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/// The records that a Linux test guest appended to files on its ext4 disk, read from the host with
/// e2fsprogs and without a mount; the layout stands in the guests' README.
///
/// @param highest the highest sequence among whole records
/// @param whole how many records are whole and at their place
/// @param damaged a sentence about the first record that is not, or empty
record FileRecords(long highest, long whole, String damaged) {
  /// The largest number of records that are kept; older files are emptied for newer ones.
  static final int KEPT = 16 * 64;

  private static final int IN_A_FILE = 64;
  private static final long MAGIC = 0x4859504653464c31L;
  private static final int BYTES = 512;
  private static final int WORDS = BYTES / Long.BYTES;
  private static final long FNV_START = 0xcbf29ce484222325L;
  private static final long FNV_PRIME = 0x100000001b3L;

  /// Makes an ext4 file system in a new file.
  ///
  /// @param mebibytes 16 or more
  static void format(Path image, int mebibytes) throws IOException {
    run(0, "mke2fs", "-q", "-t", "ext4", "-F", image.toString(), mebibytes + "m");
  }

  /// Replays the file system's own journal, as its next mount would.
  static void replayJournal(Path image) throws IOException {
    // 1 says that something was corrected, as e2fsck(8) has it, which a replay can count as.
    run(1, "e2fsck", "-p", "-E", "journal_only", image.toString());
  }

  /// Checks the whole file system and changes nothing.
  ///
  /// @throws IOException with what was found, when it is not clean
  static void check(Path image) throws IOException {
    run(0, "e2fsck", "-f", "-n", image.toString());
  }

  /// Reads an image that no hypervisor writes to any more.
  static FileRecords read(Path image, long bootId) throws IOException {
    Path folder = Files.createTempDirectory("hf-files-");
    try {
      run(0, "debugfs", "-R", "rdump / " + folder, image.toString());
      return readFolder(folder, bootId);
    } finally {
      try (Stream<Path> files = Files.walk(folder)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private static FileRecords readFolder(Path folder, long bootId) throws IOException {
    long highest = 0;
    long whole = 0;
    String damaged = "";
    try (Stream<Path> listed = Files.list(folder)) {
      for (Path path : listed.filter(FileRecords::isOfRecords).sorted().toList()) {
        ByteBuffer file = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
        long first = file.limit() < BYTES ? 0 : file.getLong(Long.BYTES);
        for (int i = 0; i < file.limit() / BYTES; i++) {
          String fault = fault(file.slice(i * BYTES, BYTES), first + i, bootId);
          if (fault.isEmpty()) {
            whole++;
            highest = Math.max(highest, first + i);
          } else if (damaged.isEmpty()) {
            damaged = path.getFileName() + ", record " + i + ": " + fault;
          }
        }
      }
    }
    return new FileRecords(highest, whole, damaged);
  }

  private static boolean isOfRecords(Path path) {
    return path.getFileName().toString().startsWith("seq-");
  }

  private static String fault(ByteBuffer bytes, long wanted, long bootId) {
    ByteBuffer record = bytes.order(ByteOrder.LITTLE_ENDIAN);
    if (record.getLong(0) != MAGIC) {
      return "is not a record";
    }
    if (record.getLong(2 * Long.BYTES) != bootId) {
      return "is of another boot";
    }
    if (record.getLong(Long.BYTES) != wanted) {
      return "is " + record.getLong(Long.BYTES) + " and not " + wanted;
    }
    return record.getLong(3 * Long.BYTES) == checksum(record) ? "" : "has a wrong checksum";
  }

  private static long checksum(ByteBuffer record) {
    long sum = FNV_START;
    for (int i = 0; i < WORDS; i++) {
      long word = i == 3 ? 0 : record.getLong(i * Long.BYTES);
      sum = Long.rotateLeft((sum ^ word) * FNV_PRIME, 29);
    }
    return sum;
  }

  /// How many of the `sequence` records so far must still be there: the last file may have been
  /// emptied for the next record.
  static long kept(long sequence) {
    return Math.min(sequence, KEPT - IN_A_FILE);
  }

  /// @param worst the highest exit code that means success
  private static void run(int worst, String program, String... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(found(program)));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      if (process.waitFor() > worst) {
        throw new IOException(String.join(" ", command) + ": " + said.strip());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  /// Debian keeps these programs where only an administrator's path leads.
  private static String found(String program) {
    Path inSbin = Path.of("/usr/sbin", program);
    return Files.isExecutable(inSbin) ? inSbin.toString() : program;
  }
}
