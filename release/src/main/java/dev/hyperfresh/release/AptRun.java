package dev.hyperfresh.release;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.release.DebianPackages.PackagesException;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;

/// One run of a program of apt or dpkg that has ended, behind the guests and bounded in time.
///
/// @param status with which it ended; 0 for success
/// @param output what it printed, on both streams, bounded
record AptRun(int status, String output) {
  /// For what reads and writes local files only.
  static final Duration LOCAL_LIMIT = Duration.ofMinutes(5);

  private static final int OUTPUT_LIMIT = 1 << 20;
  private static final int LINE_LIMIT = 4096;

  /// Runs a program to its end.
  ///
  /// @throws PackagesException when it cannot be started, or does not end within `limit` and was
  ///   killed; how it ended is not judged
  static AptRun of(List<String> command, Path workingDirectory, Duration limit) {
    return of(command, workingDirectory, limit, _ -> {});
  }

  /// As [#of(List, Path, Duration)].
  ///
  /// @param heard gets each line as it is printed, cut to [#LINE_LIMIT] bytes
  static AptRun of(
      List<String> command, Path workingDirectory, Duration limit, Consumer<String> heard) {
    String name = command.getFirst();
    Process process = start(command, workingDirectory);
    CompletableFuture<Boolean> expired =
        process
            .onExit()
            .orTimeout(limit.toMillis(), TimeUnit.MILLISECONDS)
            .handle((ended, late) -> late != null && kill(process));
    String output = drain(process, heard);
    if (expired.join()) {
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "%s %s was stopped because it did not end in %d minutes; run it again"
              .formatted(name, command.getLast(), limit.toMinutes()));
    }
    return new AptRun(process.exitValue(), output);
  }

  private static Process start(List<String> command, Path workingDirectory) {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(workingDirectory.toFile())
            .redirectErrorStream(true)
            .redirectInput(Path.of("/dev/null").toFile());
    builder.environment().put("LC_ALL", "C");
    try {
      Process process = builder.start();
      Scheduling.nice((int) process.pid(), Scheduling.BEHIND_GUESTS);
      return process;
    } catch (IOException e) {
      throw new PackagesException(
          PackagesException.Kind.NO_APT,
          "%s cannot be started (%s); packages come through Debian's apt and dpkg, so use a Debian machine"
              .formatted(command.getFirst(), e.getMessage()),
          e);
    }
  }

  private static boolean kill(Process process) {
    // apt's download methods hold the output pipe, so they have to go as well.
    process.descendants().forEach(ProcessHandle::destroyForcibly);
    process.destroyForcibly();
    return true;
  }

  private static String drain(Process process, Consumer<String> heard) {
    try (InputStream output = new BufferedInputStream(process.getInputStream())) {
      ByteArrayOutputStream kept = new ByteArrayOutputStream();
      ByteArrayOutputStream line = new ByteArrayOutputStream();
      for (int next = output.read(); next >= 0; next = output.read()) {
        if (kept.size() < OUTPUT_LIMIT) {
          kept.write(next);
        }
        if (next == '\n') {
          heard.accept(line.toString(UTF_8));
          line.reset();
        } else if (line.size() < LINE_LIMIT) {
          line.write(next);
        }
      }
      return kept.toString(UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  boolean failed() {
    return status != 0;
  }

  /// The last thing that it said.
  String lastLine() {
    return output.lines().filter(line -> !line.isBlank()).reduce("no output", (a, b) -> b);
  }

  /// What kind of obstacle a run of apt met, from what it said.
  ///
  /// @param doing what it was run for
  /// @param suite where the packages were to come from
  PackagesException explained(String doing, String suite) {
    String said =
        output
            .lines()
            .filter(line -> line.startsWith("E: ") || line.startsWith("W: "))
            .findFirst()
            .map(line -> line.substring(3))
            .orElseGet(this::lastLine);
    if (says("is not signed", "NO_PUBKEY", "BADSIG", "EXPKEYSIG")) {
      return new PackagesException(
          PackagesException.Kind.UNTRUSTED,
          "%s from %s stopped because its signature does not match this machine's keys (%s); install the current debian-archive-keyring"
              .formatted(doing, suite, said));
    }
    if (says("Unable to locate package", "was not found")) {
      return new PackagesException(
          PackagesException.Kind.UNKNOWN_PACKAGE,
          "%s failed because %s does not have it (%s); check the name"
              .formatted(doing, suite, said));
    }
    if (says(
        "Could not resolve",
        "Failed to fetch",
        "Could not connect",
        "Unable to connect",
        "Temporary failure")) {
      return new PackagesException(
          PackagesException.Kind.UNREACHABLE,
          "%s from %s failed because the mirror did not answer (%s); check the network and run it again"
              .formatted(doing, suite, said));
    }
    return new PackagesException(
        PackagesException.Kind.FAILED, "%s from %s failed: %s".formatted(doing, suite, said));
  }

  private boolean says(String... words) {
    return Stream.of(words).anyMatch(output::contains);
  }
}
