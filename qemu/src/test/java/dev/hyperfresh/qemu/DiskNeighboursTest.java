package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// Whether two guests may have devices of which one contains the other.
class DiskNeighboursTest {
  @TempDir Path folder;

  private final List<Path> running = new ArrayList<>();
  private FakeSys host;
  private DiskUse whole;
  private DiskUse first;
  private DiskUse second;
  private DiskUse volume;

  @BeforeEach
  void aDiskWithTwoPartitionsAndAVolumeOnTheSecond() throws IOException {
    host = new FakeSys(folder);
    BlockDevice disk = host.disk("pci0/ata1/host0", "sdb", "8:16", Map.of());
    BlockDevice lower = host.partition(disk, 2, "8:18");
    BlockDevice upper = host.disk("virtual", "dm-0", "254:0", Map.of("dm/uuid", "LVM-a"));
    host.liesOn(upper, lower);
    whole = new DiskUse(Path.of("/dev/sdb"), false, disk);
    first = new DiskUse(Path.of("/dev/sdb1"), false, host.partition(disk, 1, "8:17"));
    second = new DiskUse(Path.of("/dev/sdb2"), false, lower);
    volume = new DiskUse(Path.of("/dev/vg/lv"), false, upper);
    Files.writeString(locks(), "");
    Files.writeString(mounts(), "21 1 0:20 / /proc rw,relatime shared:3 - proc proc rw\n");
  }

  @Test
  void aDiskAndItsPartitionAreNotForTwoGuests() throws Exception {
    runs("web2", whole);
    refused(first, "/dev/sdb1 shares its sectors with /dev/sdb, which guest web2 has.");
    refused(volume, "/dev/vg/lv shares its sectors with /dev/sdb, which guest web2 has.");

    running.clear();
    runs("web2", first);
    refused(whole, "/dev/sdb shares its sectors with /dev/sdb1, which guest web2 has.");
    refused(first, "/dev/sdb1 shares its sectors with /dev/sdb1, which guest web2 has.");

    running.clear();
    runs("web2", volume);
    refused(second, "/dev/sdb2 shares its sectors with /dev/vg/lv, which guest web2 has.");
  }

  @Test
  void twoPartitionsAreForTwoGuests() throws Exception {
    runs("web2", first);

    allowed(second);
    allowed(volume);
  }

  @Test
  void whatIsOnlyReadIsForManyGuests() throws Exception {
    runs("web2", reading(whole));

    allowed(reading(first));
    refused(first, "which guest web2 has");
  }

  @Test
  void theGuestItselfIsNotAnother() throws Exception {
    runs("web1", first);

    allowed(first);
  }

  @Test
  void noGuestHasADiskAndItsPartition() {
    assertThatThrownBy(() -> neighbours().require(folder.resolve("web1"), List.of(first, whole)))
        .isInstanceOf(DiskImages.DiskChanged.class)
        .hasMessage("/dev/sdb1 shares its sectors with /dev/sdb, which the same guest has.");
  }

  /// A QEMU of another daemon, or of nobody's.
  @Test
  void aLockOnTheDiskIsOneOnItsPartitions() throws Exception {
    locked("sdb", 201);
    refused(first, "/dev/sdb1 shares its sectors with " + host.dev.resolve("sdb"));
    refused(volume, "which another process has locked");
    allowed(reading(first));

    locked("sdb", 101);
    refused(reading(first), "which another process has locked");

    locked("sdb1", 101);
    refused(whole, "/dev/sdb shares its sectors with " + host.dev.resolve("sdb1"));
    allowed(second);
    locked("dm-0", 101);
    refused(whole, "/dev/sdb shares its sectors with " + host.dev.resolve("dm-0"));
  }

  @Test
  void whatTheHostHasMountedIsForNoGuestThatWrites() throws Exception {
    mounted("8:17", "/dev/sdb1");
    refused(whole, "/dev/sdb is in use by this host, which has mounted it at /srv.");
    refused(first, "/dev/sdb1 is in use by this host");
    allowed(second);
    allowed(reading(whole));

    // As the device mapper names it, and Btrfs has it mounted.
    Path name = Files.createSymbolicLink(host.dev.resolve("vg-lv"), host.dev.resolve("dm-0"));
    mounted("0:47", name.toString());
    refused(whole, "/dev/sdb is in use by this host");
    refused(volume, "/dev/vg/lv is in use by this host");
  }

  private void mounted(String number, String source) throws IOException {
    Files.writeString(
        mounts(), "30 1 " + number + " / /srv rw,relatime shared:4 - ext4 " + source + " rw\n");
  }

  @Test
  void whatCannotBeToldIsRefused() throws Exception {
    Files.delete(locks());

    refused(first, "It cannot be told who else has /dev/sdb1");
  }

  private DiskNeighbours neighbours() {
    return new DiskNeighbours(host.sys, host.dev, locks(), mounts(), () -> running);
  }

  private Path mounts() {
    return folder.resolve("mountinfo");
  }

  private Path locks() {
    return folder.resolve("locks");
  }

  private void refused(DiskUse disk, String why) {
    assertThatThrownBy(() -> allowed(disk))
        .isInstanceOf(DiskImages.DiskChanged.class)
        .hasMessageContaining(why);
  }

  private void allowed(DiskUse disk) {
    neighbours().require(folder.resolve("web1"), List.of(disk));
  }

  private static DiskUse reading(DiskUse disk) {
    return new DiskUse(disk.path(), true, disk.device());
  }

  private void runs(String guest, DiskUse disk) throws IOException {
    Path files = Files.createDirectories(folder.resolve(guest));
    String[] number = disk.device().number().split(":", 2);
    DiskImages.Image image =
        new DiskImages.Image(
            disk.path(),
            Disk.Format.RAW,
            disk.readOnly(),
            Long.parseLong(number[0]) << 8 | Long.parseLong(number[1]),
            DiskImages.Image.DEVICE,
            Host.bootId());
    Files.write(
        files.resolve("disks.json"),
        QmpMessage.JSON.writeValueAsBytes(new DiskImages(List.of(List.of(image)))));
    running.add(files);
  }

  private void locked(String name, int at) throws IOException {
    Map<String, Object> is = Files.readAttributes(host.dev.resolve(name), "unix:dev,ino");
    long on = BlockDevice.number(is, "dev");
    Files.writeString(
        locks(),
        "1: OFDLCK ADVISORY  READ -1 %02x:%02x:%d %d %d\n"
            .formatted(
                BlockDevice.major(on),
                BlockDevice.minor(on),
                BlockDevice.number(is, "ino"),
                at,
                at));
  }
}
