package dev.hyperfresh.libvirt;

import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/// One run of a program of the host that has ended, bounded in time and in what it prints.
///
/// @param status with which it ended; 0 for success
/// @param output what it printed, on both streams, cut
record HostCommand(int status, String output) {
  private static final int OUTPUT_BYTES = 64 << 10;
  private static final int LINE_CHARACTERS = 300;

  /// Runs a program to its end, in an environment of its own.
  ///
  /// @throws HyperFreshException [Problem#LIBVIRT_SERVICE] when it cannot be started or does not
  ///   end in time; how it ended is not judged
  static HostCommand of(List<String> command, Duration limit) {
    Process process = start(command);
    CompletableFuture<Boolean> expired =
        process
            .onExit()
            .orTimeout(limit.toMillis(), TimeUnit.MILLISECONDS)
            .handle((_, late) -> late != null && kill(process));
    String output = read(process);
    if (expired.join()) {
      throw Problem.LIBVIRT_SERVICE.because(
          words(command) + " did not end within " + limit.toSeconds() + " s.");
    }
    return new HostCommand(process.exitValue(), output);
  }

  private static Process start(List<String> command) {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(Path.of("/").toFile())
            .redirectErrorStream(true)
            .redirectInput(Path.of("/dev/null").toFile());
    Map<String, String> environment = builder.environment();
    environment.clear();
    environment.put("LC_ALL", "C");
    environment.put("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    try {
      return builder.start();
    } catch (IOException e) {
      throw Problem.LIBVIRT_SERVICE.because(
          words(command) + " cannot be started: " + e.getMessage() + ".", e);
    }
  }

  private static boolean kill(Process process) {
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
    return true;
  }

  /// Reads all that it prints, so that it never waits, and keeps the beginning.
  private static String read(Process process) {
    try (InputStream in = process.getInputStream()) {
      String kept = new String(in.readNBytes(OUTPUT_BYTES), StandardCharsets.UTF_8);
      in.transferTo(OutputStream.nullOutputStream());
      return kept;
    } catch (IOException ended) {
      return "";
    }
  }

  private static String words(List<String> command) {
    return "`" + String.join(" ", command) + "`";
  }

  /// What it said last, for people.
  String lastLine() {
    String line = output.lines().filter(text -> !text.isBlank()).reduce("", (_, last) -> last);
    return line.isEmpty()
        ? "it ended with " + status
        : line.strip().substring(0, Math.min(LINE_CHARACTERS, line.strip().length()));
  }
}
