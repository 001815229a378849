package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Scheduling;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/// A container image on this host's disk, made into a bundle in a private folder that is removed
/// when this is closed. For one thread.
///
/// skopeo and umoci do the work, in a network namespace without a network: some images name places
/// elsewhere for what they lack, and nothing is fetched for anybody who has only given a file.
final class UnpackedImage implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofMinutes(10);

  /// What an image may leave free on the disk of the state directory.
  private static final long LEAST_FREE_BYTES = 256L << 20;

  private static final int LAST_WORDS_BYTES = 1000;

  private static final Pattern REFERENCE = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._/:+-]{0,254}");

  /// Of skopeo's and umoci's own in the private folder.
  private static final String SOURCE = "source";

  private static final String LAYOUT = "layout:run";
  private static final String BUNDLE = "bundle";

  private final Image image;
  private final Path parent;
  private final Progress progress;
  private Path folder = Path.of("");

  /// Does nothing before [#unpack].
  ///
  /// @param image an OCI layout or an archive, after which a colon and a tag may stand
  /// @param parent of private folders, made when it is not there
  UnpackedImage(Path image, Path parent, Progress progress) {
    this.image = Image.named(image);
    this.parent = parent;
    this.progress = progress;
  }

  /// @param reference which of several images in the file; empty when there is one
  private record Image(Path file, String reference) {
    /// The file's own name may have colons too.
    static Image named(Path given) {
      String text = given.toString();
      for (int end = text.length(); end > 0; end = text.lastIndexOf(':', end - 1)) {
        Path file = Path.of(text.substring(0, end));
        if (Files.exists(file)) {
          return new Image(file, end == text.length() ? "" : text.substring(end + 1));
        }
      }
      return new Image(given, "");
    }
  }

  /// Removes what daemons that were killed have left in `parent`.
  static void removeAbandoned(Path parent) {
    if (Files.exists(parent)) {
      ReleaseFolders.delete(parent);
    }
  }

  /// Makes a bundle of the image.
  ///
  /// @throws HyperFreshException [Problem#CONTAINER_SPEC] when it is no image, or one too many;
  ///   [Problem#HOST_MISSING] when a program is not installed
  Bundle unpack() {
    String path = String.valueOf(System.getenv("PATH"));
    requireInstalled("skopeo", path);
    requireInstalled("umoci", path);
    if (!image.reference().isEmpty() && !REFERENCE.matcher(image.reference()).matches()) {
      throw refused("'" + ConfigFields.shown(image.reference()) + "' is not a tag.");
    }
    if (!Files.exists(image.file())) {
      throw refused("there is no such file.");
    }
    try {
      folder = privateFolder();
      // A name without colons and at a known place, whatever the file is called.
      Files.createSymbolicLink(folder.resolve(SOURCE), image.file().toRealPath());
      progress.step("unpack", "reading " + image.file());
      String reference = image.reference().isEmpty() ? "" : ":" + image.reference();
      run(List.of("skopeo", "copy", "--quiet", kind() + ":" + SOURCE + reference, "oci:" + LAYOUT));
      run(List.of("umoci", "unpack", "--image", LAYOUT, BUNDLE));
      return Bundle.read(folder.resolve(BUNDLE)).ofImage();
    } catch (IOException | UncheckedIOException e) {
      throw refused(e.getMessage() + ".");
    }
  }

  private HyperFreshException refused(String why) {
    return Problem.CONTAINER_SPEC.because(image.file() + ": " + why);
  }

  /// @param path folders, as in the variable of that name
  /// @throws HyperFreshException [Problem#HOST_MISSING] with the package to install, which is
  ///   called like the program
  static void requireInstalled(String program, String path) {
    for (String place : path.split(File.pathSeparator)) {
      if (!place.isEmpty() && Files.isExecutable(Path.of(place, program))) {
        return;
      }
    }
    throw Problem.HOST_MISSING.because(
        "Images are unpacked by "
            + program
            + ", which is not installed: install the package "
            + program
            + ".");
  }

  private Path privateFolder() throws IOException {
    Files.createDirectories(
        parent, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    return Files.createTempDirectory(parent, "image-").toRealPath();
  }

  /// How skopeo calls what the file is.
  private String kind() throws IOException {
    if (Files.isDirectory(image.file())) {
      return "oci";
    }
    List<String> look =
        List.of(
            "tar", "--list", "--no-anchored", "--occurrence=1", "--file=" + SOURCE, "oci-layout");
    return exitCode(look) == 0 ? "oci-archive" : "docker-archive";
  }

  private void run(List<String> command) throws IOException {
    if (exitCode(command) != 0) {
      throw refused(command.getFirst() + " says: " + lastWords());
    }
  }

  private int exitCode(List<String> command) throws IOException {
    List<String> line = new ArrayList<>(List.of("unshare", "--net", "--"));
    line.addAll(command);
    ProcessBuilder builder = new ProcessBuilder(line).directory(folder.toFile());
    builder.environment().putAll(Map.of("TMPDIR", folder.toString(), "LC_ALL", "C"));
    Process process = builder.redirectErrorStream(true).redirectOutput(said().toFile()).start();
    Scheduling.nice((int) process.pid(), Scheduling.BEHIND_GUESTS);
    try {
      process.getOutputStream().close();
      long deadline = System.nanoTime() + LIMIT.toNanos();
      while (!process.waitFor(1, TimeUnit.SECONDS)) {
        if (System.nanoTime() > deadline) {
          throw refused("it takes longer than " + LIMIT.toMinutes() + " minutes.");
        }
        if (Files.getFileStore(folder).getUsableSpace() < LEAST_FREE_BYTES) {
          throw refused("it leaves less than 256 MiB free on the disk of the state directory.");
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

  private String lastWords() throws IOException {
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

  /// Removes the folder and all that is in it.
  @Override
  public void close() {
    if (!folder.toString().isEmpty()) {
      ReleaseFolders.delete(folder);
    }
  }
}
