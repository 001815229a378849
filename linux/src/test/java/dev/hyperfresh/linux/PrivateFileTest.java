package dev.hyperfresh.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PrivateFileTest {
  @TempDir Path folder;

  @Test
  void aFileIsReplacedWholeAndForItsOwnerAlone() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "older and longer");
    Path before = Files.createLink(folder.resolve("before"), file);

    PrivateFile.replace(file, "newer".getBytes(StandardCharsets.UTF_8));

    assertThat(file).hasContent("newer");
    assertThat(before).as("nobody writes into the old one").hasContent("older and longer");
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    assertThat(folder.resolve("file.new")).doesNotExist();
  }

  @Test
  void aFileThatCannotBeReplacedStaysAsItIs() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "older");
    Files.createDirectory(folder.resolve("file.new"));

    assertThatThrownBy(() -> PrivateFile.replace(file, new byte[1]))
        .isInstanceOf(IOException.class);

    assertThat(file).hasContent("older");
  }

  @Test
  void theNameOfAFileIsForcedInItsFolder() throws Exception {
    FolderNames.force(folder.resolve("file"));

    assertThatThrownBy(() -> FolderNames.force(folder.resolve("none/file")))
        .isInstanceOf(IOException.class);
  }
}
