package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SiblingsTest {
  @TempDir private Path folder;

  private Siblings siblings;

  @BeforeEach
  void open() {
    siblings = Siblings.in(folder);
  }

  @AfterEach
  void close() {
    siblings.close();
  }

  @Test
  void isMadeEmptyAndForItsOwnerAlone() throws Exception {
    try (Fd made = siblings.make("new")) {
      assertThat(Siblings.names(made)).isEmpty();
    }

    assertThat(siblings.has("new")).isTrue();
    assertThat(siblings.names()).containsExactly("new");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(folder.resolve("new"))))
        .isEqualTo("rwx------");
    assertThatThrownBy(() -> siblings.make("new")).hasMessageContaining("EEXIST");
  }

  @Test
  void twoExchangeTheirNamesWithWhatIsOpenInThem() throws Exception {
    file("home", "older");
    try (Fd next = siblings.make("next")) {
      siblings.exchange("next", "home");
      // Whoever has it open follows it.
      Files.writeString(Path.of("/proc/self/fd/" + next.number(), "state"), "newer");
    }

    assertThat(folder.resolve("home/state")).hasContent("newer");
    assertThat(folder.resolve("next/state")).hasContent("older");
  }

  @Test
  void nothingIsExchangedWithWhatIsNotThere() throws Exception {
    file("home", "older");

    assertThatThrownBy(() -> siblings.exchange("next", "home")).hasMessageContaining("ENOENT");

    assertThat(folder.resolve("home/state")).hasContent("older");
  }

  @Test
  void isRenamedOnlyToAFreeName() throws Exception {
    file("home", "older");
    file("next", "newer");

    assertThatThrownBy(() -> siblings.rename("next", "home")).hasMessageContaining("EEXIST");
    siblings.rename("next", "third");
    siblings.sync();

    assertThat(folder.resolve("home/state")).hasContent("older");
    assertThat(folder.resolve("third/state")).hasContent("newer");
  }

  @Test
  void isRemovedWithItsFilesAndNothingThatALinkNames() throws Exception {
    file("other", "stays");
    file("old", "goes");
    Files.createSymbolicLink(folder.resolve("old/link"), folder.resolve("other/state"));

    siblings.remove("old");
    siblings.remove("old");

    assertThat(folder.resolve("old")).doesNotExist();
    assertThat(folder.resolve("other/state")).hasContent("stays");
  }

  @Test
  void aLinkIsNoFolder() throws Exception {
    file("other", "stays");
    Files.createSymbolicLink(folder.resolve("link"), folder.resolve("other"));

    assertThat(siblings.has("link")).isFalse();
    assertThatThrownBy(() -> siblings.open("link")).isInstanceOf(LinuxException.class);
    assertThatThrownBy(() -> siblings.remove("link")).isInstanceOf(LinuxException.class);
    assertThat(folder.resolve("other/state")).hasContent("stays");
  }

  @Test
  void whatCannotBeToldIsNotNo() throws Exception {
    Files.writeString(folder.resolve("file"), "no folder");

    assertThat(siblings.has("file")).isFalse();
    assertThat(siblings.has("nothing")).isFalse();
    assertThatThrownBy(() -> siblings.has("x".repeat(256))).hasMessageContaining("ENAMETOOLONG");
  }

  @Test
  void noNameLeadsOut() {
    assertThatThrownBy(() -> siblings.make("../out")).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> siblings.open("../" + folder.getFileName()))
        .isInstanceOf(LinuxException.class);
  }

  private void file(String in, String text) throws IOException {
    Files.createDirectories(folder.resolve(in));
    Files.writeString(folder.resolve(in).resolve("state"), text);
  }
}
