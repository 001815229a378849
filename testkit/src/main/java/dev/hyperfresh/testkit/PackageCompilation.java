package dev.hyperfresh.testkit;

import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.release.ImageSources;
import dev.hyperfresh.relocation.OsRecipe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/// What `./package` runs to compile everything that HyperFresh compiles on a host with a compiler:
/// the programs of machines, of operating systems and of the guests of demo and soak. See
/// `PackagedPrograms`.
public final class PackageCompilation {
  private PackageCompilation() {}

  /// Compiles into the folder that is named.
  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 1) {
      System.err.println("usage: PackageCompilation OUT");
      System.exit(2);
    }
    compile(Path.of(arguments[0]).toAbsolutePath());
  }

  /// @param programs gets a folder for each set of sources
  static void compile(Path programs) throws IOException {
    Path work = Files.createTempDirectory("hf-compile-");
    try {
      int count = 0;
      for (ImageSources sources : List.of(MachineRecipe.sources(), OsRecipe.sources())) {
        sources.compile(Files.createDirectory(work.resolve(Integer.toString(count++))), programs);
      }
      GuestImages.compile(Files.createDirectory(work.resolve("guests")), programs);
      ContainerBundle.compile(work, programs);
    } finally {
      GuestImages.delete(work);
    }
  }
}
