package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.hyperfresh.linux.Host;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// What sysfs says of a block device.
class BlockDeviceTest {
  @TempDir Path folder;

  private FakeSys host;

  @BeforeEach
  void aHost() throws IOException {
    host = new FakeSys(folder);
  }

  @Test
  void aNumberIsWrittenAsSysfsHasIt() {
    // makedev(3) of 8, 17, and of 259, 1048575.
    assertThat(BlockDevice.of(host.sys, 0x811).number()).isEqualTo("8:17");
    assertThat(BlockDevice.of(host.sys, 0xfff1_03ffL).number()).isEqualTo("259:1048575");
  }

  @Test
  void aPartitionIsAPartOfItsDiskAndNotOfAnotherOne() throws Exception {
    BlockDevice disk = host.disk("pci0/ata1/host0", "sdb", "8:16", Map.of());
    BlockDevice first = host.partition(disk, 1, "8:17");
    BlockDevice second = host.partition(disk, 2, "8:18");

    assertThat(disk.above()).isEmpty();
    assertThat(disk.below()).containsExactlyInAnyOrder(first, second);
    assertThat(first.above()).containsExactly(disk);
    assertThat(first.below()).isEmpty();
    assertThat(first.node(host.dev)).contains(host.dev.resolve("sdb1"));
  }

  @Test
  void aVolumeIsAPartOfAllThatItLiesOn() throws Exception {
    BlockDevice disk = host.disk("pci0/ata1/host0", "sdb", "8:16", Map.of());
    BlockDevice partition = host.partition(disk, 2, "8:18");
    BlockDevice one = host.disk("virtual", "dm-0", "254:0", Map.of("dm/uuid", "LVM-one"));
    BlockDevice other = host.disk("virtual", "dm-1", "254:1", Map.of("dm/uuid", "LVM-other"));
    host.liesOn(one, partition);
    host.liesOn(other, partition);

    assertThat(one.above()).containsExactlyInAnyOrder(partition, disk);
    assertThat(one.below()).isEmpty();
    assertThat(disk.below()).containsExactlyInAnyOrder(partition, one, other);
  }

  @Test
  void whatSysfsDoesNotHaveIsNoPartAndHasNoMarks() throws Exception {
    BlockDevice none = new BlockDevice(host.sys, "7:1");

    assertThat(none.above()).isEmpty();
    assertThat(none.below()).isEmpty();
    assertThat(none.marks()).isEmpty();
    assertThat(none.node(host.dev)).isEmpty();
  }

  @Test
  void aDiskIsKnownByWhatItSaysOfItselfWhereverItIs() throws Exception {
    Map<String, String> a = Map.of("device/wwid", "naa.a", "size", "4096");
    Map<String, String> marks = host.disk("pci0/ata1/host0", "sdb", "8:16", a).marks();
    BlockDevice moved = host.disk("pci0/ata2/host1", "sda", "8:0", a);
    BlockDevice other =
        host.disk("pci0/ata1/host0", "sdc", "8:32", Map.of("device/wwid", "naa.b", "size", "4096"));
    BlockDevice mute = host.disk("pci0/ata1/host0", "sdd", "8:48", Map.of("size", "4096"));

    assertThat(BlockDevice.same(marks, moved.marks())).isTrue();
    assertThat(BlockDevice.same(marks, other.marks())).isFalse();
    assertThat(BlockDevice.same(marks, mute.marks())).as("it does not say").isFalse();
    assertThat(BlockDevice.same(marks, Map.of())).isFalse();
    assertThat(BlockDevice.same(marks, host.partition(moved, 1, "8:1").marks())).isFalse();
  }

  @Test
  void aPartitionIsKnownByItsNumberOnItsDisk() throws Exception {
    BlockDevice disk = host.disk("pci0", "nvme0n1", "259:0", Map.of("wwid", "eui.1"));
    Map<String, String> first = host.partition(disk, 1, "259:1").marks();

    assertThat(BlockDevice.same(first, host.partition(disk, 2, "259:2").marks())).isFalse();
    assertThat(BlockDevice.same(first, disk.marks())).isFalse();
    assertThat(BlockDevice.same(first, first)).isTrue();
    assertThat(BlockDevice.words(first)).isEqualTo("partition 1 of wwid eui.1");
  }

  /// Its name and the numbers on the way to it are counted as they are found.
  @Test
  void aDiskThatSaysNothingIsKnownByItsSizeAndPlace() throws Exception {
    Map<String, String> marks =
        host.disk("pci0/0:3.0/virtio1", "vdb", "253:16", Map.of("size", "9")).marks();
    BlockDevice later = host.disk("pci0/0:3.0/virtio0", "vda", "253:0", Map.of("size", "9"));
    BlockDevice elsewhere = host.disk("pci0/0:4.0/virtio2", "vdc", "253:32", Map.of("size", "9"));
    BlockDevice larger = host.disk("pci0/0:3.0/virtio3", "vdd", "253:48", Map.of("size", "10"));

    assertThat(BlockDevice.same(marks, later.marks())).isTrue();
    assertThat(BlockDevice.same(marks, elsewhere.marks())).isFalse();
    assertThat(BlockDevice.same(marks, larger.marks())).isFalse();
    assertThat(BlockDevice.words(marks)).isEqualTo("9 sectors at devices/pci0/0:3.0/virtio");
    BlockDevice scsi = host.disk("pci0/host2/target2:0:1/2:0:1:0", "sda", "8:0", Map.of());
    BlockDevice again = host.disk("pci0/host5/target5:0:1/5:0:1:0", "sdf", "8:80", Map.of());
    assertThat(BlockDevice.same(scsi.marks(), again.marks())).isTrue();
  }

  @Test
  void aDriveIsTheSameWithAnotherMedium() throws Exception {
    Map<String, String> cd = Map.of("removable", "1", "size", "700");
    Map<String, String> before = host.disk("pci0/ata1/host0", "sr0", "11:0", cd).marks();
    Map<String, String> empty = Map.of("removable", "1", "size", "0");
    BlockDevice later = host.disk("pci0/ata1/host0", "sr1", "11:1", empty);

    assertThat(BlockDevice.same(before, later.marks())).isTrue();
    assertThat(BlockDevice.words(before)).isEqualTo("a drive at devices/pci0/ata/host");
  }

  @Test
  void whatIsAttachedNowhereIsKnownByItsName() throws Exception {
    BlockDevice one = host.disk("virtual", "ram0", "1:0", Map.of());
    BlockDevice other = host.disk("virtual", "ram1", "1:1", Map.of());

    assertThat(BlockDevice.same(one.marks(), one.marks())).isTrue();
    assertThat(BlockDevice.same(one.marks(), other.marks())).isFalse();
  }

  /// That the folders above are like the kernel's.
  @Test
  void aLoopDeviceWithAPartitionIsSeenLikeThis() throws Exception {
    assumeTrue(Host.effectiveUid() == 0, "only root makes loop devices");
    Path image = Files.write(folder.resolve("image"), withAPartition()).toRealPath();
    Optional<String> loop = losetup("--find", "--show", "--partscan", image.toString());
    assumeTrue(loop.isPresent(), "losetup makes no loop device here");
    try {
      Path node = Path.of(loop.get());
      BlockDevice disk = BlockDevice.behind(BlockDevice.SYS, node).orElseThrow();
      assertThat(disk.marks()).containsEntry("file", image.toString());
      assertThat(disk.node(Path.of("/dev"))).contains(node);
      assertThat(disk.above()).isEmpty();
      assumeFalse(disk.below().isEmpty(), "the kernel reads no partitions of loop devices here");

      assertThat(disk.below()).hasSize(1);
      BlockDevice partition = disk.below().iterator().next();
      assertThat(partition.above()).containsExactly(disk);
      assertThat(partition.node(Path.of("/dev"))).contains(Path.of(node + "p1"));
      assertThat(partition.marks())
          .containsEntry("file", image.toString())
          .containsEntry("partition", "1");
    } finally {
      assertThat(losetup("--detach", loop.get())).isPresent();
    }
  }

  /// 4 MiB with a table of partitions as MS-DOS had it.
  private static byte[] withAPartition() {
    return ByteBuffer.allocate(4 << 20)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(446 + 4, (byte) 0x83)
        .putInt(446 + 8, 64)
        .putInt(446 + 12, 1024)
        .putShort(510, (short) 0xaa55)
        .array();
  }

  /// What losetup(8) says; empty when it fails.
  private static Optional<String> losetup(String... arguments) throws InterruptedException {
    List<String> command = new ArrayList<>(List.of("losetup"));
    command.addAll(List.of(arguments));
    try {
      Process process =
          new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
      String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      return process.waitFor() == 0 ? Optional.of(said.strip()) : Optional.empty();
    } catch (IOException e) {
      return Optional.empty();
    }
  }
}
