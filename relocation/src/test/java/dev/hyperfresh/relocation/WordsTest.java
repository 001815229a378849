package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What this host and the inside of an OS say to each other is the same on both sides, though one
/// is Java and the other shell and C.
class WordsTest {
  private static final Path JAVA = Path.of("src/main/java/dev/hyperfresh/relocation");

  @TempDir Path folder;

  private static String java(String name) throws IOException {
    return Files.readString(JAVA.resolve(name + ".java"));
  }

  /// A file that is forgotten in the list would be missing in the image, or in its digest.
  @Test
  void everySourceOfTheInsideIsListed() throws IOException {
    SortedSet<String> present;
    try (Stream<Path> files = Files.list(Path.of("src/main/resources/os"))) {
      present =
          files
              .map(file -> "/os/" + file.getFileName())
              .collect(Collectors.toCollection(TreeSet::new));
    }
    assertThat(OsRecipe.SOURCES.files().stream().filter(file -> file.startsWith("/os/")))
        .containsExactlyInAnyOrderElementsOf(present);
    String parts = Words.in(Words.resource("/os/build.sh"), "(?s)\nrelocate=\\(([^)]*)\\)").first();
    assertThat(Arrays.stream(parts.strip().split("\\s+")).map(part -> "/os/" + part))
        .containsExactlyInAnyOrderElementsOf(
            Words.relocateSources().stream().filter(file -> file.endsWith(".c")).toList());
  }

  /// The list of page frames, which C writes and both read.
  @Test
  void theListOfPagesHasTheLayoutOfTheHeader() throws Exception {
    Files.writeString(folder.resolve("list.h"), Words.resource("/os/list.h"));
    Files.writeString(
        folder.resolve("layout.c"),
        """
        #include "list.h"
        _Static_assert(sizeof(struct header) == %d, "header");
        _Static_assert(sizeof(struct run) == %d, "run");
        _Static_assert(offsetof(struct run, count) == %d, "count");
        """
            .formatted(PageList.HEADER_BYTES, PageList.RUN_BYTES, PageList.COUNT_OFFSET));
    Process gcc =
        new ProcessBuilder("gcc", "-std=c11", "-fsyntax-only", "layout.c")
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .start();
    assertThat(new String(gcc.getInputStream().readAllBytes(), StandardCharsets.UTF_8)).isEmpty();
    String magic =
        Words.in(Words.resource("/os/list.h"), "#define LIST_MAGIC \"([A-Z]+)\"").first();
    assertThat(Words.resource("/os/container")).contains("!= " + magic + " ]");
  }

  @Test
  void everyOrderIsKnownAndEveryKnownOneGiven() throws IOException {
    String script = Words.resource("/os/container");
    String inside = java("Inside");
    SortedSet<String> given = Words.in(inside, "List\\.of\\(\\s*\"([a-z0-9]+)\"");
    given.addAll(Words.in(inside, "live\\(\"([a-z0-9]+)\""));
    given.addAll(Words.in(inside, "static final String [A-Z]+ = \"([a-z]+)\""));
    given.addAll(Words.in(inside, "\"/container\",\\s*\"([a-z]+)\""));
    assertThat(given).contains("network", "freeze", "exec");
    assertThat(Words.in(script.substring(script.lastIndexOf("case $verb")), "\n    ([a-z0-9]+)\\)"))
        .isEqualTo(given);
    assertThat(Words.in(script, "\n#     container ([a-z0-9]+)")).isEqualTo(given);
  }

  /// By the port of an order.
  @Test
  void bothSidesOfALineKnowItsWords() throws IOException {
    String inside =
        Words.resource("/os/container")
            + Words.resource("/os/hook.c")
            + Words.resource("/os/gate.c");
    SortedSet<String> heard = Words.in(java("OsMove"), "\\.await\\(\"([a-z-]+)\"[,)]");
    heard.addAll(Words.in(java("Inside"), "line\\([A-Z]+, transport, \"([a-z-]+)\"\\)"));
    assertThat(heard).contains("network-lock", "listed", "ready", "restored");
    assertThat(heard).allSatisfy(word -> assertThat(inside).containsPattern("\\b" + word + "\\b"));
    SortedSet<String> said = Words.in(java("Line"), "say\\(\"([a-z]+)\\\\n\"\\)");
    said.remove("no");
    assertThat(said).contains("ok", "go", "listed", "run");
    assertThat(said).allSatisfy(word -> assertThat(inside).containsPattern("\\b" + word + "\\b"));
  }

  /// In a container's folder, which is the same for this host and every OS.
  @Test
  void bothSidesKnowTheFilesOfAMove() throws IOException {
    String script = Words.resource("/os/container");
    assertThat(script)
        .contains("home=" + OsVm.CONTAINERS + "/$name")
        .contains("netns=" + OsVm.NETWORKS + "/$name")
        .contains("relocate=" + OsVm.PROGRAMS + "/relocate")
        .contains("images=$home/images", "\"$images/pages\"", "\"$home/$4\"");
    assertThat(script).contains("fail \"" + Moves.NOT_ACCEPTED + "\"");
    assertThat(java("ContainerFolder")).contains("\"images\"", "\"freed.\"", "\"/pages\"");
    assertThat(java("ContainerLog")).contains("\"log\"", "\"log.1\"", "\"log.2\"");
    assertThat(Words.resource("/os/log.c")).contains("log.1", "log.2");
  }
}
