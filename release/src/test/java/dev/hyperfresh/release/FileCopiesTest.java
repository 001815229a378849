package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FileCopiesTest {
  @TempDir Path folder;

  @Test
  void aFolderIsCopiedWithWhatItsLinksLeadTo() throws Exception {
    Path from = folder.resolve("from");
    Files.createDirectories(from.resolve("sub"));
    Path elsewhere = Files.writeString(folder.resolve("elsewhere"), "rom");
    Files.writeString(from.resolve("sub/bios"), "bios");
    Files.createSymbolicLink(from.resolve("rom"), elsewhere);
    Files.createSymbolicLink(from.resolve("broken"), folder.resolve("absent"));
    Files.createSymbolicLink(from.resolve("round"), from);
    Files.createSymbolicLink(folder.resolve("link"), from);

    FileCopies.folder(folder.resolve("link"), folder.resolve("a/b/to"));
    Files.writeString(elsewhere, "changed");
    Files.writeString(from.resolve("sub/bios"), "changed");

    Path to = folder.resolve("a/b/to");
    assertThat(to.resolve("sub/bios")).hasContent("bios");
    assertThat(to.resolve("rom")).hasContent("rom");
    assertThat(Files.isSymbolicLink(to.resolve("rom"))).isFalse();
    assertThat(Files.exists(to.resolve("broken"), LinkOption.NOFOLLOW_LINKS)).isFalse();
    assertThat(Files.exists(to.resolve("round"), LinkOption.NOFOLLOW_LINKS)).isFalse();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(to.resolve("sub"))))
        .isEqualTo("rwxr-xr-x");
  }

  @Test
  void aFileKeepsItsMode() throws Exception {
    Path from = Files.writeString(folder.resolve("program"), "#!/bin/true\n");
    Files.setPosixFilePermissions(from, PosixFilePermissions.fromString("rwxr-x--x"));

    FileCopies.file(from, folder.resolve("bin/program"));

    assertThat(folder.resolve("bin/program")).hasSameBinaryContentAs(from);
    assertThat(
            PosixFilePermissions.toString(
                Files.getPosixFilePermissions(folder.resolve("bin/program"))))
        .isEqualTo("rwxr-x--x");
  }
}
