package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/// One version of a package and its archive, a file in the cache once it has been downloaded.
///
/// @param name as apt says it, with an architecture where it is not the machine's
/// @param cache the folder of archives
record PackageArchive(String name, String version, Path cache) {
  /// As an argument of apt.
  String argument() {
    return name + "=" + version;
  }

  private String prefix() {
    return name.replaceFirst(":.*", "") + "_" + version.replace(":", "%3a") + "_";
  }

  /// The archive, if it was downloaded.
  Optional<Path> file() {
    try (Stream<Path> files = Files.list(cache)) {
      return files
          .filter(f -> f.getFileName().toString().startsWith(prefix()))
          .filter(f -> f.getFileName().toString().endsWith(".deb"))
          .findFirst();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /// Unpacks it, once it was downloaded.
  ///
  /// @throws PackagesException when it is damaged or the disk is full; it is gone from the cache
  ///   then
  void extract(Path into) throws IOException {
    Path archive = file().orElseThrow();
    AptRun run =
        AptRun.of(
            List.of("dpkg-deb", "-x", archive.toString(), into.toString()),
            cache,
            AptRun.LOCAL_LIMIT);
    if (run.failed()) {
      // Whatever is wrong with it, the next attempt must not find it in the cache.
      Files.delete(archive);
      throw new PackagesException(
          PackagesException.Kind.FAILED,
          "%s could not be unpacked into %s: %s"
              .formatted(archive.getFileName(), into, run.lastLine()));
    }
  }
}
