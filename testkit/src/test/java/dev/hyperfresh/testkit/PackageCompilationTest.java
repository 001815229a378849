package dev.hyperfresh.testkit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.machine.MachineRecipe;
import dev.hyperfresh.release.PackagedPrograms;
import dev.hyperfresh.relocation.OsRecipe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A package's programs are those that a host with a compiler would compile, and are found.
class PackageCompilationTest {
  private static final String FOLDER = "hyperfresh.programs";

  @TempDir Path folder = Path.of("");

  @AfterEach
  void forget() {
    System.clearProperty(FOLDER);
  }

  @Test
  void everySetOfSourcesHasItsPrograms() throws Exception {
    Workshop.require(Files.isExecutable(Path.of("/usr/bin/gcc")), "there is no gcc");
    assertThat(PackagedPrograms.of(MachineRecipe.sources().sha256())).isEmpty();

    PackageCompilation.compile(folder);

    System.setProperty(FOLDER, folder.toString());
    assertThat(programs(MachineRecipe.sources().sha256()))
        .containsExactlyInAnyOrder("init", "window.so");
    assertThat(programs(OsRecipe.sources().sha256()))
        .containsExactlyInAnyOrder("agent", "gate", "keep", "log", "relocate");
    Path bundle = Files.createDirectory(folder.resolve("bundle"));
    ContainerBundle.busy(bundle);
    assertThat(bundle.resolve("rootfs/bin/busy")).isExecutable();
    assertThat(bundle.resolve("busy.c")).as("compiled anew").doesNotExist();
    assertThat(PackagedPrograms.of("of other sources")).isEmpty();
  }

  private static Set<String> programs(String digest) throws IOException {
    try (Stream<Path> files = Files.list(PackagedPrograms.of(digest).orElseThrow())) {
      return files
          .map(file -> String.valueOf(file.getFileName()))
          .collect(Collectors.toCollection(TreeSet::new));
    }
  }
}
