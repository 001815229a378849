package dev.hyperfresh.host;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.host.PackageDatabase.Installed;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PackageDatabaseTest {
  private static final Path QEMU = Path.of("/usr/bin/qemu-system-x86_64");

  @TempDir Path root;
  private PackageDatabase database;

  @BeforeEach
  void install() {
    new FakeHost(root)
        .file("info/qemu-system-x86.list", "/.\n/usr\n/usr/bin\n/usr/bin/qemu-system-x86_64")
        .file("info/qemu-system-arm:amd64.list", "/bin/qemu-system-arm")
        .file("info/qemu-system-x86.md5sums", "0 usr/bin/qemu-system-x86_64")
        .file("info/other.list", "/usr/bin/other")
        .file(
            "status",
            """
            Package: qemu-system-arm
            Status: install ok installed
            Version: 1:7.2

            Package: qemu-system-x86
            Status: install ok installed
            Depends: libc6
            Version: 1:7.2+dfsg-7+deb12u18
            Description: Version: none

            Package: other
            Version: 3
            """);
    database = new PackageDatabase(root);
  }

  @Test
  void aFileHasThePackageThatBroughtIt() {
    assertThat(database.owner(QEMU, PackageDatabaseTest::isNamed))
        .contains(new Installed("qemu-system-x86", "1:7.2+dfsg-7+deb12u18"));
  }

  /// On a host whose `/bin` is a link, packages may name their files either way.
  @Test
  void bothSpellingsOfAFolderAreOne() {
    assertThat(database.owner(Path.of("/usr/bin/qemu-system-arm"), PackageDatabaseTest::isNamed))
        .contains(new Installed("qemu-system-arm", "1:7.2"));
    assertThat(database.owner(Path.of("/bin/qemu-system-x86_64"), PackageDatabaseTest::isNamed))
        .isPresent();
  }

  @Test
  void otherFilesAndOtherPackagesHaveNone() {
    assertThat(
            database.owner(
                Path.of("/usr/local/bin/qemu-system-x86_64"), PackageDatabaseTest::isNamed))
        .isEmpty();
    assertThat(database.owner(Path.of("/usr/bin/other"), PackageDatabaseTest::isNamed)).isEmpty();
    assertThat(
            new PackageDatabase(root.resolve("nowhere")).owner(QEMU, PackageDatabaseTest::isNamed))
        .isEmpty();
  }

  @Test
  void aPackageThatIsNotInTheStatusFileIsNone() {
    new FakeHost(root).file("status", "Package: qemu-system-x86-more\nVersion: 1");

    assertThat(database.owner(QEMU, PackageDatabaseTest::isNamed)).isEmpty();
  }

  private static boolean isNamed(String name) {
    return name.contains("qemu");
  }
}
