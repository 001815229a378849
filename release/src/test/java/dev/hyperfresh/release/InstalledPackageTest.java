package dev.hyperfresh.release;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InstalledPackageTest {
  private static final Path FILE = Path.of("/usr/bin/qemu-system-x86_64");

  @TempDir Path folder;
  private Path copy;

  @BeforeEach
  void record() throws IOException {
    copy = Files.writeString(folder.resolve("copy"), "one build");
    sums(md5sum(copy));
    status("install ok installed");
  }

  private void sums(String sum) throws IOException {
    Files.createDirectories(folder.resolve("info"));
    Files.writeString(
        folder.resolve("info/qemu-system-x86.md5sums"),
        "0".repeat(32) + "  usr/share/doc/other\n" + sum + "  usr/bin/qemu-system-x86_64\n");
  }

  private void status(String state) throws IOException {
    Files.writeString(
        folder.resolve("status"),
        """
        Package: qemu-system-x86-xen
        Status: install ok installed
        Version: 1:9-9

        Package: qemu-system-x86
        Status: %s
        Version: 1:10.0.2+ds-2+deb13u1
        Description: an emulator
         Version: 7

        Package: zlib1g
        Status: install ok installed
        Version: 1.3-1
        """
            .formatted(state));
  }

  private static String md5sum(Path file) throws IOException {
    Process process = new ProcessBuilder("md5sum", file.toString()).start();
    return new String(process.getInputStream().readAllBytes(), StandardCharsets.US_ASCII)
        .substring(0, 32);
  }

  private Optional<String> version() throws IOException {
    return new InstalledPackage(folder, "qemu-system-x86")
        .versionOf(FILE, copy)
        .map(DebianVersion::text);
  }

  @Test
  void aFileOfThePackageHasItsVersion() throws IOException {
    assertThat(version()).contains("1:10.0.2+ds-2+deb13u1");
  }

  @Test
  void aFileThatWasReplacedIsNoneOfThePackage() throws IOException {
    Files.writeString(copy, "another build");
    assertThat(version()).isEmpty();
  }

  @Test
  void anotherFileIsNoneOfThePackage() throws IOException {
    assertThat(
            new InstalledPackage(folder, "qemu-system-x86").versionOf(Path.of("/opt/qemu"), copy))
        .isEmpty();
  }

  @Test
  void aPackageThatIsNotWhollyInstalledHasNoVersion() throws IOException {
    status("install ok unpacked");
    assertThat(version()).isEmpty();
  }

  /// dpkg writes each step into a file of its own, and all of them into its status at times.
  @Test
  void packagesThatAreBeingChangedAreNamed() throws IOException {
    assertThat(InstalledPackage.changing(folder, name -> true)).isEmpty();
    status("install ok half-configured");
    assertThat(InstalledPackage.changing(folder, name -> name.startsWith("qemu")))
        .containsExactly("qemu-system-x86 is half-configured");
    Files.createDirectories(folder.resolve("updates"));
    Files.writeString(
        folder.resolve("updates/0001"),
        "Package: zlib1g\nStatus: install ok unpacked\nVersion: 1.3-2\n");
    Files.writeString(
        folder.resolve("updates/0000"),
        "Package: qemu-system-x86\nStatus: install ok installed\nVersion: 1:10\n");
    assertThat(InstalledPackage.changing(folder, name -> name.startsWith("qemu"))).isEmpty();
    assertThat(InstalledPackage.changing(folder, name -> true))
        .containsExactly("zlib1g is unpacked");
    assertThat(InstalledPackage.changing(folder.resolve("none"), name -> true)).isEmpty();
  }

  @Test
  void aHostWithoutDpkgHasNone() throws IOException {
    assertThat(
            new InstalledPackage(folder.resolve("none"), "qemu-system-x86").versionOf(FILE, copy))
        .isEmpty();
  }
}
