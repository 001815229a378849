package dev.hyperfresh.release;

import dev.hyperfresh.release.DebianPackages.PackagesException;
import dev.hyperfresh.release.DebianPackages.Suite;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;

/// One download of a source package, alone in the directory of [DebianPackages].
final class SourceFetch {
  private static final Duration LIMIT = Duration.ofMinutes(30);

  private final PrivateApt apt;
  private final Consumer<String> progress;

  /// The parameters are those of [DebianPackages#source].
  SourceFetch(Path directory, Suite suite, Consumer<String> progress) {
    this.apt = new PrivateApt(directory, suite, DebianHost.ask(), AptSources.Contents.SOURCES);
    this.progress = progress;
  }

  /// @return the folder
  /// @throws PackagesException as [DebianPackages#source]
  Path download(String name, DebianVersion version, Path into) throws IOException {
    String wanted = name + "=" + version.text();
    return new AptIndex(apt, progress)
        .on(
            "",
            AptIndex.DAY,
            () -> {
              progress.accept("downloading the source of " + name + " " + version.text());
              var _ =
                  apt.run(
                      "downloading the source of " + name,
                      LIMIT,
                      List.of("-q", "source", "--download-only", wanted),
                      into,
                      _ -> {});
              return into;
            });
  }
}
