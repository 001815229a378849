package dev.hyperfresh.release;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/// Programs that were compiled when this HyperFresh was packaged, so that the host on which it is
/// installed needs no compiler: a folder for each set of sources, named after their digest.
/// Programs of other sources are never used: what is built of them would be called what it is not.
public final class PackagedPrograms {
  /// The system property that names the folder of all; a HyperFresh that runs from its sources has
  /// none.
  private static final String FOLDER = "hyperfresh.programs";

  /// How the scripts that build images hear of it.
  private static final String VARIABLE = "HYPERFRESH_PROGRAMS";

  private PackagedPrograms() {}

  /// The folder of the programs of these sources.
  ///
  /// @param digest of the sources, as whoever compiled them had it
  /// @return empty when they have to be compiled
  public static Optional<Path> of(String digest) {
    return Optional.ofNullable(System.getProperty(FOLDER))
        .map(folder -> Path.of(folder, digest))
        .filter(Files::isDirectory);
  }

  /// Names a folder in the environment of a script, or sees to it that none is named.
  public static void name(Optional<Path> programs, Map<String, String> environment) {
    environment.remove(VARIABLE);
    programs.ifPresent(folder -> environment.put(VARIABLE, folder.toString()));
  }
}
