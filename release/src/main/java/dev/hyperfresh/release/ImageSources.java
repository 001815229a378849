package dev.hyperfresh.release;

import dev.hyperfresh.linux.Scheduling;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/// What an image is built from: a script, and what it sources and compiles. Immutable.
///
/// @param files resources by their absolute names; the first is the script
public record ImageSources(List<String> files) {
  private static final int LIMIT_SECONDS = 300;

  /// Copies the list.
  public ImageSources {
    files = List.copyOf(files);
  }

  /// One digest of all of them: an image with another one was built from other sources.
  public String sha256() {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (String file : files) {
        try (InputStream in = open(file)) {
          digest.update(in.readAllBytes());
        }
      }
      return HexFormat.of().formatHex(digest.digest());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  /// Copies all of them, by their names alone.
  ///
  /// @param folder made when it is absent
  public void copyTo(Path folder) throws IOException {
    Files.createDirectories(folder);
    for (String file : files) {
      try (InputStream in = open(file)) {
        Files.copy(in, folder.resolve(name(file)));
      }
    }
  }

  /// Runs the script in a folder of its own. It compiles nothing where its programs were compiled
  /// when this HyperFresh was packaged.
  ///
  /// @param work an existing folder, which keeps the script's output as `build.log`
  /// @throws IOException when it fails, with all that it said
  public void build(Path work, List<String> arguments) throws IOException {
    run(work, arguments, PackagedPrograms.of(sha256()));
  }

  /// Compiles the programs of the image alone, as [PackagedPrograms] looks for them.
  ///
  /// @param work as for [#build]
  /// @param programs gets a folder with them
  /// @throws IOException when it fails, with all that was said
  public void compile(Path work, Path programs) throws IOException {
    run(work, List.of("--programs", programs.resolve(sha256()).toString()), Optional.empty());
  }

  private void run(Path work, List<String> arguments, Optional<Path> programs) throws IOException {
    Path sources = work.resolve("image");
    copyTo(sources);
    List<String> command = new ArrayList<>();
    command.add("bash");
    command.add(sources.resolve(name(files.getFirst())).toString());
    command.addAll(arguments);
    ProcessBuilder script = new ProcessBuilder(command);
    PackagedPrograms.name(programs, script.environment());
    run(script, work.resolve("build.log"));
  }

  private static String name(String file) {
    return file.substring(file.lastIndexOf('/') + 1);
  }

  private static void run(ProcessBuilder script, Path log) throws IOException {
    Process build = script.redirectErrorStream(true).redirectOutput(log.toFile()).start();
    Scheduling.nice((int) build.pid(), Scheduling.BEHIND_GUESTS);
    try {
      if (!build.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS) || build.exitValue() != 0) {
        build.destroyForcibly();
        throw new IOException(Files.readString(log).strip());
      }
    } catch (InterruptedException e) {
      build.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  private static InputStream open(String file) throws IOException {
    InputStream in = ImageSources.class.getResourceAsStream(file);
    if (in == null) {
      throw new IOException("the resource " + file + " is missing");
    }
    return in;
  }
}
