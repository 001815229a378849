package dev.hyperfresh.relocation;

import dev.hyperfresh.linux.Scheduling;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/// Runs the programs that take an image apart, in a folder that their work fills: behind the
/// guests, without a network, and bounded in time and by what is left on the disk. For one thread.
///
/// @param folder their working directory and their place for temporary files
/// @param limit the time that each may take
/// @param leastFreeBytes what must be left free on the folder's disk
record ImageTools(Path folder, Duration limit, long leastFreeBytes) {
  private static final int LAST_WORDS_BYTES = 1000;

  /// With the bounds of every image.
  ImageTools(Path folder) {
    this(folder, Duration.ofMinutes(10), 256L << 20);
  }

  /// A program was killed because it went beyond its bounds.
  static final class BoundException extends RuntimeException {
    private static final long serialVersionUID = 1;

    BoundException(String message) {
      super(message);
    }
  }

  /// Runs one to its end.
  ///
  /// @throws BoundException when it went beyond its bounds and was killed
  int exitCode(List<String> command) throws IOException {
    List<String> line = new ArrayList<>(List.of("unshare", "--net", "--"));
    line.addAll(command);
    ProcessBuilder builder = new ProcessBuilder(line).directory(folder.toFile());
    builder.environment().putAll(Map.of("TMPDIR", folder.toString(), "LC_ALL", "C"));
    Process process = builder.redirectErrorStream(true).redirectOutput(said().toFile()).start();
    Scheduling.nice((int) process.pid(), Scheduling.BEHIND_GUESTS);
    try {
      process.getOutputStream().close();
      long deadline = System.nanoTime() + limit.toNanos();
      while (!process.waitFor(1, TimeUnit.SECONDS)) {
        if (System.nanoTime() > deadline) {
          throw new BoundException("it takes longer than " + limit.toMinutes() + " minutes");
        }
        if (Files.getFileStore(folder).getUsableSpace() < leastFreeBytes) {
          throw new BoundException(
              "it leaves less than "
                  + (leastFreeBytes >> 20)
                  + " MiB free on the disk of the state directory");
        }
      }
      return process.exitValue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    } finally {
      process.destroyForcibly().onExit().join();
    }
  }

  private Path said() {
    return folder.resolve("said");
  }

  /// The last line that the last one printed.
  String lastWords() throws IOException {
    try (FileChannel file = FileChannel.open(said())) {
      file.position(Math.max(0, file.size() - LAST_WORDS_BYTES));
      String text =
          new String(
              Channels.newInputStream(file).readNBytes(LAST_WORDS_BYTES), StandardCharsets.UTF_8);
      return text.lines()
          .reduce("nothing", (_, last) -> last)
          .replaceFirst("^time=.*level=\\w+ msg=", "")
          .strip();
    }
  }
}
