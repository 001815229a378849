package dev.hyperfresh.relocation;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.vm.TroubleException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// A hostile OS puts links, pipes, folders and huge files under each name that the daemon opens.
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class ContainerFolderTest {
  private static final String SECRET = "a secret of the host";
  private static final List<String> NAMES = List.of("log", "exec.1", "freed.w1", "images");

  @TempDir Path top;

  private Path canary;
  private Path share;
  private ContainerFolder folder;

  @BeforeEach
  void make() throws IOException {
    canary = Files.createDirectory(top.resolve("canary"));
    Files.writeString(canary.resolve("state.json"), SECRET);
    Files.writeString(canary.resolve("pages"), SECRET);
    folder = new ContainerFolder(top.resolve("c1"));
    folder.make();
    share = folder.share();
  }

  @AfterEach
  void theHostsFilesAreAsTheyWere() {
    assertThat(canary.resolve("state.json")).hasContent(SECRET);
    assertThat(canary.resolve("pages")).hasContent(SECRET);
  }

  private void refusesAll() throws IOException {
    assertThatThrownBy(() -> folder.log(100)).isInstanceOf(IOException.class);
    assertThatThrownBy(() -> folder.output("exec.1", 100)).isInstanceOf(IOException.class);
    assertThat(folder.findFreed("w1")).isEmpty();
    assertThat(folder.hasImages()).isFalse();
    assertThat(folder.imageBytes()).isZero();
    folder.removeOutput("exec.1");
    assertThat(share.resolve("exec.1")).doesNotExist();
    folder.makeFreed("w1").close();
    assertThat(Files.isRegularFile(share.resolve("freed.w1"), LinkOption.NOFOLLOW_LINKS)).isTrue();
    folder.forgetFreed("w1");
    folder.forgetImages();
    assertThat(Files.exists(share.resolve("images"), LinkOption.NOFOLLOW_LINKS)).isFalse();
    folder.delete();
    assertThat(share).doesNotExist();
  }

  @Test
  void linksLeadNowhere() throws IOException {
    for (String name : NAMES) {
      Files.createSymbolicLink(
          share.resolve(name), name.equals("images") ? canary : canary.resolve("pages"));
    }
    refusesAll();
  }

  @Test
  void pipesHoldNobodyUp() throws Exception {
    for (String name : NAMES) {
      Process made = new ProcessBuilder("mkfifo", share.resolve(name).toString()).start();
      assertThat(made.waitFor()).isZero();
    }
    refusesAll();
  }

  @Test
  void foldersAreNoFiles() throws IOException {
    for (String name : NAMES) {
      Files.createDirectory(share.resolve(name));
    }
    Files.createSymbolicLink(share.resolve("images/state.json"), canary.resolve("state.json"));
    Files.createSymbolicLink(share.resolve("images/pages"), canary.resolve("pages"));
    refusesAll();
  }

  @Test
  void hugeFilesAreReadInPart() throws IOException {
    for (String name : List.of("log", "exec.1")) {
      try (FileChannel file =
          FileChannel.open(
              share.resolve(name), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        file.write(ByteBuffer.wrap("end".getBytes(StandardCharsets.US_ASCII)), 1L << 42);
      }
    }
    assertThat(new String(folder.log(3), StandardCharsets.US_ASCII)).isEqualTo("end");
    assertThat(folder.output("exec.1", 100).orElseThrow()).hasSize(100);
    assertThat(folder.output("exec.2", 100)).isEmpty();
    folder.delete();
    assertThat(share).doesNotExist();
  }

  @Test
  void aFolderThatWasPutInPlaceOfAFileIsRefused() throws IOException {
    Files.createDirectories(share.resolve("freed.w1/more"));
    assertThatThrownBy(() -> folder.makeFreed("w1")).isInstanceOf(TroubleException.class);
  }

  @Test
  void aTreeWithLinksToTheHostIsDeletedAlone() throws IOException {
    Path deep = Files.createDirectories(share.resolve("rootfs/etc/deep"));
    Files.createSymbolicLink(deep.resolve("link"), canary);
    Files.createSymbolicLink(share.resolve("rootfs/host"), canary);
    Files.writeString(Files.createDirectory(share.resolve("images")).resolve("state.json"), "{}");
    assertThat(folder.hasImages()).isTrue();
    assertThat(folder.imageBytes()).isEqualTo(2);

    folder.forgetImages();
    assertThat(folder.hasImages()).isFalse();
    folder.delete();
    folder.delete();

    assertThat(share).doesNotExist();
    try (Stream<Path> left = Files.list(top)) {
      assertThat(left).containsExactly(canary);
    }
  }

  @Test
  void aLinkInPlaceOfTheWholeIsRemovedItself() throws IOException {
    Files.delete(share);
    Files.createSymbolicLink(share, canary);
    assertThatThrownBy(() -> folder.log(100)).isInstanceOf(IOException.class);
    folder.delete();
    assertThat(Files.exists(share, LinkOption.NOFOLLOW_LINKS)).isFalse();
  }
}
