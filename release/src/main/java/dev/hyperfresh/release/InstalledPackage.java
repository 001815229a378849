package dev.hyperfresh.release;

import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;

/// A package that this host's own package manager may have installed. Its records are only read.
///
/// @param records where dpkg keeps them, such as `/var/lib/dpkg`
/// @param name of the package
public record InstalledPackage(Path records, String name) {
  /// Far more than the records of all packages of a host.
  private static final int MOST_BYTES = 64 << 20;

  /// The version of the package, when it is installed and has `file` with the content of `copy`;
  /// empty when not, or when this host has no dpkg.
  ///
  /// @param file where the package has it, an absolute path
  /// @param copy of it, or the file itself
  /// @throws IOException when `copy` or the records cannot be read
  public Optional<DebianVersion> versionOf(Path file, Path copy) throws IOException {
    Path sums = records.resolve("info").resolve(name + ".md5sums");
    Path status = records.resolve("status");
    if (!Files.isRegularFile(sums) || !Files.isRegularFile(status)) {
      return Optional.empty();
    }
    // dpkg keeps MD5; nothing rests on its being hard to forge.
    String line = ReleaseFolders.digest("MD5", copy) + "  " + file.toString().substring(1);
    return text(sums).lines().anyMatch(line::equals) ? version(status) : Optional.empty();
  }

  /// Packages write their names and descriptions in whatever encoding they like.
  private static String text(Path file) throws IOException {
    return new String(BoundedFile.read(file, MOST_BYTES), StandardCharsets.ISO_8859_1);
  }

  private Optional<DebianVersion> version(Path status) throws IOException {
    return Stream.of(text(status).split("\\n\\n", -1))
        .filter(stanza -> (stanza + "\n").startsWith("Package: " + name + "\n"))
        .filter(stanza -> stanza.contains(" ok installed\n"))
        .flatMap(String::lines)
        .filter(line -> line.startsWith("Version: "))
        .findFirst()
        .flatMap(line -> DebianVersion.parse(line.substring("Version: ".length())));
  }
}
