package dev.hyperfresh.hyperplexor;

import dev.hyperfresh.hyperplexor.Journal.Entry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;

/// A process that writes a journal and says what is on disk, a line each: to be killed, or with a
/// disk of its own that is full.
final class JournalWriter {
  static final long MAX_BYTES = 2048;
  static final String FULL = "full";

  private JournalWriter() {}

  /// The command that starts one in the folder `folder`.
  static List<String> command(Path folder, String... words) {
    List<String> java =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            System.getProperty("java.class.path"),
            JournalWriter.class.getName(),
            folder.toString());
    return Stream.concat(java.stream(), Stream.of(words)).toList();
  }

  public static void main(String[] arguments) throws IOException {
    Path folder = Path.of(arguments[0]);
    Path path = folder.resolve("journal.log");
    try (Journal journal = Journal.open(path, MAX_BYTES)) {
      say(journal, "kept", "Switching");
      if (arguments.length == 2) {
        onAFullDisk(journal, folder, path);
      } else {
        forEver(journal);
      }
    }
  }

  private static void forEver(Journal journal) {
    for (int i = 0; ; i++) {
      for (String state : List.of("Planned", "Switching", "Retired")) {
        say(journal, "r" + i, state);
      }
    }
  }

  /// Its compaction fails until there is room again.
  private static void onAFullDisk(Journal journal, Path folder, Path path) throws IOException {
    while (Files.size(path) < MAX_BYTES - 300) {
      say(journal, "r", "Retired");
    }
    Path filler = folder.resolve("filler");
    try (FileChannel file =
        FileChannel.open(filler, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      while (file.write(ByteBuffer.allocate(1024)) > 0) {}
    } catch (IOException full) {
      System.out.println("full: " + full.getMessage());
    }
    while (Files.size(path) < MAX_BYTES + 300) {
      say(journal, "r", "Retired");
    }
    System.out.println("unfinished: " + ids(path) + " large: " + (Files.size(path) > MAX_BYTES));
    Files.delete(filler);
    say(journal, "r", "Retired");
    System.out.println("unfinished: " + ids(path) + " large: " + (Files.size(path) > MAX_BYTES));
  }

  private static List<String> ids(Path path) {
    return Journal.unfinished(path).stream().map(Entry::id).toList();
  }

  private static void say(Journal journal, String id, String state) {
    journal.write(new Entry(Instant.EPOCH, id, "web1", state, 1, 2, "qemu-7.2.22"));
    System.out.println(id + " " + state);
  }
}
