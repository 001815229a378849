package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Problem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/// Which names of block devices are held against what they meant.
class DeviceNamesTest {
  private static final Path SDB = Path.of("/dev/sdb");
  private static final Path LOOP = Path.of("/dev/loop0");

  @TempDir Path folder;

  private FakeSys host;
  private Path files;

  @BeforeEach
  void aHost() throws IOException {
    host = new FakeSys(folder);
    files = Files.createDirectory(folder.resolve("files"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/dev/sdb",
        "/dev/vdb1",
        "/dev/nvme0n1p2",
        "/dev/dm-3",
        "/dev/mapper/../sdb",
        "/dev/block/8:16",
        "/dev/disk/by-diskseq/7"
      })
  void namesThatCountMayChange(Path name) {
    assertThat(DeviceNames.mayChange(name)).isTrue();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/dev/disk/by-id/wwn-0x5000",
        "/dev/disk/by-path/pci-0000:00:03.0",
        "/dev/mapper/vg-lv",
        "/dev/vg/lv",
        "/srv/images/sdb"
      })
  void namesThatAreKeptDoNot(Path name) {
    assertThat(DeviceNames.mayChange(name)).isFalse();
  }

  @Test
  void aNameThatMeansAnotherDiskAfterABootIsRefused() throws Exception {
    BlockDevice mine = disk("ata1", "sdb", "8:16", "naa.mine");
    require(SDB, mine);

    BlockDevice renumbered = disk("ata2", "sdc", "8:32", "naa.mine");
    require(SDB, renumbered);

    BlockDevice other = disk("ata1", "sdb", "8:16", "naa.other");
    for (int i = 0; i < 2; i++) {
      assertThatThrownBy(() -> require(SDB, other))
          .isInstanceOf(DiskImages.DiskChanged.class)
          .hasMessage(
              "/dev/sdb is another device than before: it was wwid naa.mine, and is wwid naa.other.");
    }
    require(SDB, renumbered);
  }

  @Test
  void aDeviceThatSysfsDoesNotHaveAnyMoreIsRefused() throws Exception {
    require(SDB, disk("ata1", "sdb", "8:16", "naa.mine"));

    assertThatThrownBy(() -> require(SDB, new BlockDevice(folder.resolve("none"), "8:16")))
        .hasMessageContaining("and is unknown");
  }

  @Test
  void whereSysfsIsNotThereNothingIsHeldAgainstAnything() {
    BlockDevice unknown = new BlockDevice(folder.resolve("none"), "8:16");

    require(SDB, unknown);
    require(SDB, unknown);
  }

  /// A volume may be made anew, and a disk with this identity be restored.
  @Test
  void aNameThatIsKeptMayMeanANewDevice() throws Exception {
    Path name = Path.of("/dev/vg/lv");
    require(name, disk("ata1", "sdb", "8:16", "naa.mine"));

    require(name, disk("ata1", "sdc", "8:32", "naa.other"));

    assertThat(files).isEmptyDirectory();
  }

  /// An edit may be about something else, and need not know of it.
  @Test
  void whatANameMeansIsKeptFromTheGuestsMakingOn() throws Exception {
    Assumptions.assumeTrue(
        Files.exists(LOOP)
            && BlockDevice.behind(host.sys, LOOP).orElseThrow().number().equals("7:0"),
        LOOP + " is not there");
    BlockDevice first = host.disk("virtual", "loop0", "7:0", Map.of("loop/backing_file", "/a"));
    DeviceNames.remember(spec(LOOP), files, host.sys);
    BlockDevice second =
        new FakeSys(Files.createDirectory(folder.resolve("b")))
            .disk("virtual", "loop0", "7:0", Map.of("loop/backing_file", "/b"));

    assertThatThrownBy(() -> require(LOOP, second)).hasMessageContaining("it was file /a");
    assertThatThrownBy(() -> DeviceNames.remember(spec(LOOP), files, second.sys()))
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(Problem.GUEST_DISK))
        .hasMessageContaining("it was file /a");

    DeviceNames.remember(spec(LOOP), files, host.sys);
    require(LOOP, first);
  }

  private BlockDevice disk(String port, String name, String number, String wwid)
      throws IOException {
    Path root = Files.createTempDirectory(folder, "host");
    return new FakeSys(root).disk("pci0/" + port, name, number, Map.of("device/wwid", wwid));
  }

  private void require(Path name, BlockDevice device) {
    DeviceNames.require(files, List.of(new DiskUse(name, false, device)));
  }

  private static GuestSpec spec(Path disk) {
    return new GuestSpec(
        "web1",
        1,
        16L << 20,
        "pc-q35-7.2",
        "qemu64",
        AcceleratorWish.TCG,
        Optional.empty(),
        List.of(new Disk(disk, Disk.Format.RAW, false)),
        List.of());
  }
}
