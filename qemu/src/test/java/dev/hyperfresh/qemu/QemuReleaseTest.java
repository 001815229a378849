package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.release.DebianPackages.Suite;
import dev.hyperfresh.release.DebianVersion;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class QemuReleaseTest {
  @TempDir Path root;

  private QemuRelease release(Set<String> deprecated) {
    return new QemuRelease(
        "qemu-11.1.3+1",
        "11.1.3",
        root.resolve("usr/bin/qemu-system-x86_64"),
        List.of(),
        List.of(root.resolve("usr/lib/x86_64-linux-gnu"), root.resolve("lib/x86_64-linux-gnu")),
        "00",
        Set.of("pc-q35-7.2", "pc-q35-11.1"),
        Set.of("qemu64"),
        Set.of("events", "x-ignore-shared"),
        deprecated,
        "a test");
  }

  @Test
  void aCLibraryOfItsOwnIsUsedByTheLoaderThatItCameWith() throws Exception {
    QemuRelease release = release(Set.of());
    String folders = root + "/usr/lib/x86_64-linux-gnu:" + root + "/lib/x86_64-linux-gnu";
    assertThat(release.program()).containsExactly(release.binary().toString());
    assertThat(release.environment())
        .containsEntry("LD_LIBRARY_PATH", folders)
        .doesNotContainKey("QEMU_MODULE_DIR");

    Path libraries = Files.createDirectories(root.resolve("usr/lib/x86_64-linux-gnu"));
    Path modules = Files.createDirectory(libraries.resolve("qemu"));
    assertThat(release.environment())
        .containsEntry("LD_LIBRARY_PATH", folders)
        .containsEntry("QEMU_MODULE_DIR", modules.toString());
    Path loader = Files.createFile(libraries.resolve("ld-linux-x86-64.so.2"));

    assertThat(release.program())
        .containsExactly(
            loader.toString(),
            "--inhibit-cache",
            "--library-path",
            folders,
            release.binary().toString());
    assertThat(release.environment())
        .as("programs of the host that start it must not get its C library")
        .doesNotContainKey("LD_LIBRARY_PATH")
        .containsEntry("QEMU_MODULE_DIR", libraries.resolve("qemu").toString());
  }

  /// Debian has had its modules in a package of their own since 8.1.
  @Test
  void spiceComesAlongWhereItCostsLittle() {
    DebianVersion old = new DebianVersion("1:7.2+dfsg-7+deb12u18");
    DebianVersion apart = new DebianVersion("1:10.0.2+ds-2+deb13u1~bpo12+1");
    List<String> alone = List.of("qemu-system-x86");
    List<String> both = List.of("qemu-system-x86", "qemu-system-modules-spice");

    assertThat(QemuArchive.wanted(Suite.STABLE, old)).isEqualTo(alone);
    assertThat(QemuArchive.wanted(Suite.STABLE, apart)).isEqualTo(both);
    assertThat(QemuArchive.wanted(Suite.BACKPORTS, apart)).isEqualTo(both);
    assertThat(QemuArchive.wanted(Suite.TRIXIE, apart)).isEqualTo(alone);
  }

  @Test
  void whatItDeprecatesIsARemarkAndNoRefusal() {
    assertThat(machineType("pc-q35-7.2", Set.of("pc-q35-7.2")))
        .isEqualTo(
            Check.remark(
                "machine type",
                "qemu-11.1.3+1 knows pc-q35-7.2, but deprecates it: a later release will not know"
                    + " it.",
                "Choose a newer machine type the next time the guest is stopped."));
    assertThat(machineType("pc-q35-7.2", Set.of("pc-q35-7.2")).failed()).isFalse();
    assertThat(machineType("pc-q35-11.1", Set.of("pc-q35-7.2")).remedy()).isEmpty();
  }

  private Check machineType(String machine, Set<String> deprecated) {
    GuestSpec spec =
        new GuestSpec(
            "web1",
            1,
            64 << 20,
            machine,
            "qemu64",
            AcceleratorWish.AUTO,
            Optional.empty(),
            List.of(),
            List.of());
    return new Qemu()
        .checks(spec, release(deprecated), Accelerator.TCG).stream()
            .filter(check -> check.name().equals("machine type"))
            .findFirst()
            .orElseThrow();
  }

  @Test
  void aDescriptionOfAnEarlierVersionIsRead() throws Exception {
    QemuRelease release = release(Set.of());
    String today = QmpMessage.JSON.writeValueAsString(release);
    assertThat(today).contains(",\"deprecated\":[]");

    assertThat(
            QmpMessage.JSON.readValue(today.replace(",\"deprecated\":[]", ""), QemuRelease.class))
        .isEqualTo(release);
  }
}
