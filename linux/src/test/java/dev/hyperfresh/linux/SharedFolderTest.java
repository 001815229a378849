package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Somebody hostile writes in the folder. Beside it lies what must stay unread and as it is.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class SharedFolderTest {
  private static final String SECRET = "a secret of the host";
  private static final Duration LIMIT = Duration.ofSeconds(100);

  @TempDir Path top;

  private Path shared;
  private Path bin;
  private Path canary;
  private SharedFolder folder;
  private SharedFolder binFolder;

  @BeforeEach
  void make() throws IOException {
    shared = Files.createDirectory(top.resolve("shared"));
    bin = Files.createDirectory(top.resolve("bin"));
    canary = Files.createDirectory(top.resolve("canary"));
    Files.writeString(canary.resolve("file"), SECRET);
    folder = SharedFolder.open(shared);
    binFolder = SharedFolder.open(bin);
  }

  @AfterEach
  void close() throws IOException {
    folder.close();
    binFolder.close();
    assertThat(canary.resolve("file")).hasContent(SECRET);
    assertThat(list(canary)).hasSize(1);
  }

  private static String[] list(Path path) throws IOException {
    try (Stream<Path> all = Files.list(path)) {
      return all.map(file -> String.valueOf(file.getFileName())).toArray(String[]::new);
    }
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private void fifo(String name) throws Exception {
    Process made = new ProcessBuilder("mkfifo", shared.resolve(name).toString()).start();
    assertThat(made.waitFor()).isZero();
  }

  @Test
  void aFileIsReadInPartFromEitherEnd() throws IOException {
    Files.writeString(shared.resolve("log"), "0123456789");
    Files.writeString(Files.createDirectory(shared.resolve("images")).resolve("a"), "abc");

    assertThat(text(folder.first("log", 4).orElseThrow())).isEqualTo("0123");
    assertThat(text(folder.last("log", 4).orElseThrow())).isEqualTo("6789");
    assertThat(text(folder.last("log", 400).orElseThrow())).isEqualTo("0123456789");
    assertThat(text(folder.first("images/a", 9).orElseThrow())).isEqualTo("abc");
    assertThat(folder.first("images/b", 9)).isEmpty();
    assertThat(folder.first("nowhere/b", 9)).isEmpty();
    assertThat(folder.lengths("images", 10)).isEqualTo(3);
    assertThat(folder.lengths("nowhere", 10)).isZero();
    assertThat(folder.has("images/a")).isTrue();
    assertThat(folder.has("images")).isFalse();
  }

  @Test
  void noLinkAndNoPathLeadsOut() throws IOException {
    Files.createSymbolicLink(shared.resolve("log"), canary.resolve("file"));
    Files.createSymbolicLink(shared.resolve("images"), canary);
    Files.createSymbolicLink(shared.resolve("proc"), Path.of("/proc/self/root"));
    Files.createDirectory(shared.resolve("up"));

    for (String path :
        new String[] {
          "log",
          "images/file",
          "../canary/file",
          "up/../../canary/file",
          canary + "/file",
          "proc" + canary + "/file"
        }) {
      assertThatThrownBy(() -> folder.first(path, 100)).as(path).isInstanceOf(IOException.class);
      assertThat(folder.has(path)).isFalse();
    }
    assertThatThrownBy(() -> folder.lengths("images", 10)).isInstanceOf(IOException.class);
    assertThatThrownBy(() -> SharedFolder.open(shared.resolve("images")))
        .isInstanceOf(LinuxException.class);
    assertThatThrownBy(() -> folder.remove("images/file"))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void whatIsNoFileIsNotOpenedAndHoldsNobodyUp() throws Exception {
    fifo("log");
    Files.createDirectory(shared.resolve("images"));
    fifo("images/pages");
    Files.createSymbolicLink(shared.resolve("images/link"), canary.resolve("file"));

    assertThatThrownBy(() -> folder.last("log", 10)).hasMessageContaining("is not a regular file");
    assertThatThrownBy(() -> folder.first("images", 10)).hasMessageContaining("not a regular file");
    assertThat(folder.lengths("images", 10)).isZero();
    assertThatThrownBy(() -> folder.lengths("log", 10)).isInstanceOf(IOException.class);
    try (FileChannel anew = folder.createAnew("log")) {
      assertThat(anew.size()).isZero();
    }
    assertThat(Files.isRegularFile(shared.resolve("log"))).isTrue();
  }

  @Test
  void aFileOfTerabytesIsReadInPart() throws IOException {
    try (FileChannel file =
        FileChannel.open(
            shared.resolve("log"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      file.write(ByteBuffer.wrap(new byte[] {'e', 'n', 'd'}), 1L << 42);
    }

    assertThat(folder.first("log", 1000).orElseThrow()).hasSize(1000);
    assertThat(text(folder.last("log", 3).orElseThrow())).isEqualTo("end");
  }

  @Test
  void aFolderWithTooManyEntriesIsNotLookedThrough() throws IOException {
    Path images = Files.createDirectory(shared.resolve("images"));
    for (int i = 0; i < 11; i++) {
      Files.createFile(images.resolve("image" + i));
    }
    assertThatThrownBy(() -> folder.lengths("images", 10))
        .hasMessageContaining("more than 10 entries");
  }

  @Test
  void aNewFileTakesThePlaceOfALinkAndIsNotTheOldOne() throws IOException {
    Files.createSymbolicLink(shared.resolve("freed"), canary.resolve("file"));
    try (FileChannel first = folder.createAnew("freed")) {
      Files.writeString(shared.resolve("freed"), "stale");
      try (FileChannel second = folder.createAnew("freed")) {
        assertThat(first.size()).isEqualTo(5);
        assertThat(second.size()).isZero();
      }
    }
    Path taken = Files.createDirectory(shared.resolve("taken"));
    Files.createFile(taken.resolve("file"));
    assertThatThrownBy(() -> folder.createAnew("taken")).isInstanceOf(IOException.class);
  }

  @Test
  void deletingRemovesATreeAndFollowsNothing() throws Exception {
    Path tree = Files.createDirectories(shared.resolve("tree/a/b"));
    Files.writeString(tree.resolve("file"), "x");
    Files.createSymbolicLink(tree.resolve("link"), canary);
    Files.createSymbolicLink(shared.resolve("tree/link"), canary.resolve("file"));
    fifo("tree/fifo");
    // A name that is no text.
    Process odd =
        new ProcessBuilder("sh", "-c", "touch \"$0/$(printf 'n\\377')\"", tree.toString()).start();
    assertThat(odd.waitFor()).isZero();

    folder.delete("tree", binFolder, 1000, LIMIT);
    folder.delete("nothing", binFolder, 1000, LIMIT);

    assertThat(list(shared)).isEmpty();
    assertThat(list(bin)).isEmpty();
    Files.createSymbolicLink(shared.resolve("tree"), canary);
    folder.delete("tree", binFolder, 1000, LIMIT);
    assertThat(list(shared)).isEmpty();
  }

  /// Deeper than a path can be long.
  @Test
  void aTreeOfAnyDepthIsDeleted() throws IOException {
    Path tree = Files.createDirectory(shared.resolve("tree"));
    String level = "d".repeat(200) + "/";
    for (int i = 0; i < 3; i++) {
      Path around = Files.createDirectory(shared.resolve("around"));
      Path bottom = Files.createDirectories(around.resolve(level.repeat(15)));
      Files.move(tree, bottom.resolve("tree"));
      Files.move(around, tree);
    }

    folder.delete("tree", binFolder, 100_000, LIMIT);

    assertThat(list(shared)).isEmpty();
    assertThat(list(bin)).isEmpty();
  }

  @Test
  void aDeletionIsBounded() throws IOException {
    Path tree = Files.createDirectory(shared.resolve("tree"));
    for (int i = 0; i < 20; i++) {
      Files.createFile(tree.resolve("file" + i));
    }
    assertThatThrownBy(() -> folder.delete("tree", binFolder, 10, LIMIT))
        .hasMessageContaining("too many entries");
    assertThatThrownBy(() -> folder.delete("tree2", binFolder, 10, Duration.ofNanos(-1)))
        .hasMessageContaining("too many entries");
    assertThat(list(shared)).as("it is out of the folder").isEmpty();
  }

  /// Somebody puts a link in the place of a folder all the time.
  @Test
  void aFolderThatIsSwappedMeanwhileLeadsNowhereElse() throws Exception {
    AtomicBoolean done = new AtomicBoolean();
    Path real = Files.createDirectory(shared.resolve("real"));
    Files.writeString(real.resolve("file"), "harmless");
    Path link = shared.resolve("link");
    Path images = shared.resolve("images");
    Thread swapper =
        Thread.ofPlatform()
            .daemon()
            .start(() -> {
              while (!done.get()) {
                try {
                  Files.createSymbolicLink(link, canary);
                  Files.move(
                      link,
                      images,
                      StandardCopyOption.ATOMIC_MOVE,
                      StandardCopyOption.REPLACE_EXISTING);
                  Files.delete(images);
                  Files.move(real, images, StandardCopyOption.ATOMIC_MOVE);
                  Files.move(images, real, StandardCopyOption.ATOMIC_MOVE);
                } catch (IOException e) {
                  // It was removed in between; then there is another one.
                  remake(real);
                }
              }
            });
    int seen = 0;
    try {
      for (int i = 0; i < 2000; i++) {
        seen += look("images/file");
        if (i % 50 == 0) {
          deleteIfPossible("images");
        }
      }
    } finally {
      done.set(true);
    }
    swapper.join();
    assertThat(seen % "harmless".length()).isZero();
  }

  private int look(String path) {
    try {
      return folder.first(path, 100).map(SharedFolderTest::text).orElse("").length();
    } catch (IOException e) {
      // The link was there.
      return 0;
    }
  }

  private void deleteIfPossible(String name) {
    try {
      folder.delete(name, binFolder, 1000, LIMIT);
    } catch (IOException e) {
      // Something came in meanwhile.
    }
  }

  private static void remake(Path real) {
    try {
      if (!Files.exists(real, LinkOption.NOFOLLOW_LINKS)) {
        Files.createDirectory(real);
        Files.writeString(real.resolve("file"), "harmless");
      }
    } catch (IOException e) {
      // The next round tries again.
    }
  }
}
