package dev.hyperfresh.relocation;

import dev.hyperfresh.hyperplexor.Progress;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.release.ReleaseFolders;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.regex.Pattern;

/// A container image on this host's disk, made into a bundle in a private folder that is removed
/// when this is closed. For one thread.
///
/// skopeo and umoci do the work, in a network namespace without a network: some images name places
/// elsewhere for what they lack, and nothing is fetched for anybody who has only given a file.
final class UnpackedImage implements AutoCloseable {
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
      ImageTools tools = new ImageTools(folder);
      String source = kind(tools) + ":" + SOURCE + reference;
      run(tools, List.of("skopeo", "copy", "--quiet", source, "oci:" + LAYOUT));
      run(tools, List.of("umoci", "unpack", "--image", LAYOUT, BUNDLE));
      return Bundle.read(folder.resolve(BUNDLE)).ofImage();
    } catch (ImageTools.BoundException | IOException | UncheckedIOException e) {
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
  private String kind(ImageTools tools) throws IOException {
    if (Files.isDirectory(image.file())) {
      return "oci";
    }
    List<String> look =
        List.of(
            "tar", "--list", "--no-anchored", "--occurrence=1", "--file=" + SOURCE, "oci-layout");
    return tools.exitCode(look) == 0 ? "oci-archive" : "docker-archive";
  }

  private void run(ImageTools tools, List<String> command) throws IOException {
    if (tools.exitCode(command) != 0) {
      throw refused(command.getFirst() + " says: " + tools.lastWords());
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
