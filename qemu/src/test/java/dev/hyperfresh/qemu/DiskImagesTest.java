package dev.hyperfresh.qemu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.hyperfresh.hypervisor.Accelerator;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.AcceleratorWish;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.MemFd;
import dev.hyperfresh.linux.OpenFlags;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.assertj.core.api.ThrowableAssert;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/// Which files the daemon opens for a guest, whatever its images say.
@Timeout(20)
class DiskImagesTest {
  @TempDir Path folder;

  private final MemFd memory = MemFd.create("disk-images-test", 16L << 20);
  private final Map<Integer, Fd> opened = new HashMap<>();
  private Path files;

  @BeforeEach
  void folder() throws Exception {
    files = Files.createDirectory(folder.resolve("files"));
  }

  @AfterEach
  void close() {
    opened.values().forEach(Fd::close);
    memory.close();
  }

  @Test
  void aChainIsFollowedOnceAndWrittenDown() throws Exception {
    Files.writeString(folder.resolve("bottom.raw"), "b");
    Path middle = TestImages.qcow2(folder.resolve("middle"), "bottom.raw", "raw");
    Path top = TestImages.qcow2(folder.resolve("top"), middle.toString(), "qcow2");
    Launch launch = launch(new Disk(top, Disk.Format.QCOW2, false));

    DiskImages pinned = DiskImages.pin(launch);

    assertThat(pinned.disks().getFirst().stream().map(DiskImages.Image::path))
        .containsExactly(top, middle, folder.resolve("bottom.raw"));
    assertThat(pinned.disks().getFirst().stream().map(DiskImages.Image::readOnly))
        .containsExactly(false, true, true);
    List<Disk> wanted = launch.spec().disks();
    // The hypervisor may write what it likes into its image.
    TestImages.qcow2(top, "/etc/shadow", "raw");
    assertThat(DiskImages.of(launch)).isEqualTo(pinned);
    pinned.openInto(opened, wanted, false);
    assertThat(opened).containsOnlyKeys(24, 25, 26);
  }

  @Test
  void aPathThatLeadsToAnotherFileByNowIsRefused() throws Exception {
    Path disk = Files.writeString(folder.resolve("disk"), "d");
    List<Disk> wanted = List.of(new Disk(disk, Disk.Format.RAW, false));
    DiskImages pinned = DiskImages.pin(launch(wanted.getFirst()));
    Files.move(
        Files.writeString(folder.resolve("other"), "o"), disk, StandardCopyOption.REPLACE_EXISTING);

    assertThatThrownBy(() -> pinned.openInto(opened, wanted, false))
        .isInstanceOf(DiskImages.DiskChanged.class)
        .hasMessageContaining(disk + " is not the file");

    Files.delete(disk);
    Files.createSymbolicLink(disk, Path.of("/etc/shadow"));
    assertThatThrownBy(() -> pinned.openInto(opened, wanted, false))
        .isInstanceOf(DiskImages.DiskChanged.class);
  }

  @Test
  void aGuestIsNotStartedWithAnotherFile() throws Exception {
    Path disk = Files.writeString(folder.resolve("disk"), "d");
    Launch launch = launch(new Disk(disk, Disk.Format.RAW, false));
    DiskImages.pin(launch);
    Files.move(
        Files.writeString(folder.resolve("other"), "o"), disk, StandardCopyOption.REPLACE_EXISTING);

    assertProblem(Problem.GUEST_DISK, () -> new Qemu().start(launch));
    assertProblem(Problem.REPLACE_PREPARE, () -> new Qemu().startWaiting(launch));
  }

  private static void assertProblem(Problem problem, ThrowableAssert.ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            HyperFreshException.class, e -> assertThat(e.problem()).isEqualTo(problem))
        .hasMessageContaining("is not the file");
  }

  /// File systems on the network have another number after each boot.
  @Test
  void aFileWhoseFileSystemIsNumberedOtherwiseAfterABootIsTheSame() throws Exception {
    Path disk = Files.writeString(folder.resolve("disk"), "d");
    Launch launch = launch(new Disk(disk, Disk.Format.RAW, false));
    DiskImages pinned = DiskImages.pin(launch);
    DiskImages before = renumbered(pinned, "another boot");

    assertThatThrownBy(() -> before.openInto(opened, launch.spec().disks(), true))
        .as("its source has the file open in this boot")
        .isInstanceOf(DiskImages.DiskChanged.class);
    assertThatThrownBy(
            () -> renumbered(pinned, Host.bootId()).openInto(opened, launch.spec().disks(), false))
        .isInstanceOf(DiskImages.DiskChanged.class);

    before.openInto(opened, launch.spec().disks(), false);
    before.begin(launch, opened);

    assertThat(DiskImages.of(launch)).as("for the instances of this boot").isEqualTo(pinned);
  }

  private static DiskImages renumbered(DiskImages images, String boot) {
    DiskImages.Image is = images.disks().getFirst().getFirst();
    return new DiskImages(
        List.of(
            List.of(
                new DiskImages.Image(
                    is.path(), is.format(), is.readOnly(), is.device() + 1, is.inode(), boot))));
  }

  @Test
  void whatAnEarlierVersionDecidedIsRead() throws Exception {
    Path disk = Files.writeString(folder.resolve("disk"), "d");
    Launch launch = launch(new Disk(disk, Disk.Format.RAW, false));
    DiskImages.pin(launch);
    Path decided = files.resolve("disks.json");
    Files.writeString(
        decided,
        Files.readString(decided).replaceAll("\"boot\":\"[^\"]*\",|,\"boot\":\"[^\"]*\"", ""));

    DiskImages read = DiskImages.of(launch);

    assertThat(read.disks().getFirst().getFirst().boot()).isEmpty();
    read.openInto(opened, launch.spec().disks(), true);
  }

  @Test
  void aBackingFileThatItsReaderMayNotReadIsRefused() throws Exception {
    Path secrets = Files.createDirectory(folder.resolve("secrets"));
    Files.setPosixFilePermissions(secrets, PosixFilePermissions.fromString("rwx------"));
    Path secret = Files.writeString(secrets.resolve("key"), "k");
    refused(TestImages.qcow2(folder.resolve("a"), secret.toString(), "raw"), "neither in the same");
    refused(TestImages.qcow2(folder.resolve("b"), "secrets/key", "raw"), "neither in the same");
    Files.createSymbolicLink(folder.resolve("beside"), secret);
    refused(TestImages.qcow2(folder.resolve("c"), "beside", "raw"), "neither in the same");
  }

  @Test
  void aBackingFileThatIsNoFileIsRefused() throws Exception {
    refused(TestImages.qcow2(folder.resolve("a"), "nbd://host/x", "raw"), "which is not a file");
    refused(TestImages.qcow2(folder.resolve("b"), "json:{}", "raw"), "which is not a file");
    refused(TestImages.qcow2(folder.resolve("c"), "gone", "raw"), "cannot be found");
    refused(TestImages.qcow2(folder.resolve("d"), "d", "qcow2"), "more than 15 backing files");
    refused(TestImages.qcow2(folder.resolve("e"), "a", ""), "format ''");
    refused(TestImages.qcow2(folder.resolve("f"), "a", "vmdk"), "format 'vmdk'");
    refused(Files.writeString(folder.resolve("g"), "no image"), "not qcow2");
    refused(Files.createDirectory(folder.resolve("h")), "not a regular file");
    Path external = TestImages.qcow2(folder.resolve("i"), "", "");
    try (RandomAccessFile header = new RandomAccessFile(external.toFile(), "rw")) {
      header.seek(72);
      header.writeLong(4);
    }
    refused(external, "data in another file");
  }

  @Test
  void aRawDiskOfAnotherFormatIsRefused() throws Exception {
    Map<String, String> starts = Map.of("qcow2", "QFI\u00fb", "vmdk", "KDMV", "vhdx", "vhdxfile");
    for (Map.Entry<String, String> start : starts.entrySet()) {
      Path image =
          Files.writeString(
              folder.resolve(start.getKey() + ".img"),
              start.getValue() + "\0".repeat(512),
              StandardCharsets.ISO_8859_1);
      Launch launch = launch(new Disk(image, Disk.Format.RAW, false));

      assertThatThrownBy(() -> DiskImages.pin(launch))
          .isInstanceOf(HyperFreshException.class)
          .hasMessageContaining(image + " is an image of format " + start.getKey());
      // A guest that runs already keeps what it was started with.
      assertThat(DiskImages.of(launch).disks()).hasSize(1);
    }
  }

  /// Whoever may change the folder could make it lead to any device.
  @Test
  void aBlockDeviceIsNamedByItsPathInDev() throws Exception {
    refused(Path.of("/dev/null"), "not a regular file, nor a block device");
    Optional<Path> device = blockDevice();
    Assumptions.assumeTrue(device.isPresent(), "no block device can be opened here");
    Path link = Files.createSymbolicLink(folder.resolve("link"), device.get());
    assertThatThrownBy(() -> DiskImages.pin(launch(new Disk(link, Disk.Format.RAW, true))))
        .hasMessageContaining("name that by its path in /dev");

    DiskAccess direct = new DiskAccess(DiskAccess.Cache.NONE, DiskAccess.Aio.NATIVE, false, false);
    List<Disk> wanted =
        List.of(new Disk(device.get(), Disk.Format.RAW, true, DiskDrive.PLAIN, direct));
    DiskImages pinned = DiskImages.pin(launch(wanted.getFirst()));
    assertThat(pinned.disks().getFirst().getFirst().inode()).isEqualTo(DiskImages.Image.DEVICE);
    pinned.openInto(opened, wanted, false);
    assertThat(opened).containsOnlyKeys(24);
    Fd file = opened.values().iterator().next();
    String flags = Files.readString(Path.of("/proc/self/fdinfo/" + file.number()));
    Matcher octal = Pattern.compile("flags:\\s*([0-7]+)").matcher(flags);
    assertThat(octal.find()).isTrue();
    assertThat(Integer.parseInt(octal.group(1), 8) & OpenFlags.DIRECT)
        .as("QEMU from 9.1 on looks for it")
        .isEqualTo(OpenFlags.DIRECT);
  }

  /// A name in /dev may lead to another device than the one that the source has open.
  @Test
  void aTargetGetsTheDeviceThatItsSourceHas() throws Exception {
    Optional<Path> device = blockDevice();
    Assumptions.assumeTrue(device.isPresent(), "no block device can be opened here");
    Launch launch = launch(new Disk(device.get(), Disk.Format.RAW, true));
    DiskImages pinned = DiskImages.pin(launch);
    DiskImages other = renumbered(pinned, Host.bootId());

    assertThatThrownBy(() -> other.openInto(opened, launch.spec().disks(), true))
        .isInstanceOf(DiskImages.DiskChanged.class)
        .hasMessageContaining(device.get() + " is not the device");

    opened.values().forEach(Fd::close);
    pinned.openInto(opened, launch.spec().disks(), true);
    opened.values().forEach(Fd::close);
    // A volume of that name may have been made anew since, and the guest is booted from it.
    other.openInto(opened, launch.spec().disks(), false);
    other.begin(launch, opened);
    assertThat(DiskImages.of(launch)).isEqualTo(pinned);
  }

  private static Optional<Path> blockDevice() throws IOException {
    try (Stream<Path> devices = Files.list(Path.of("/dev"))) {
      return devices
          .filter(device -> device.getFileName().toString().matches("loop[0-9]+|[sv]da"))
          .filter(DiskImagesTest::opens)
          .findFirst();
    }
  }

  private static boolean opens(Path device) {
    try (Fd _ = Fd.open(device, OpenFlags.READ_ONLY)) {
      return true;
    } catch (LinuxException e) {
      return false;
    }
  }

  @Test
  void aPipeIsRefusedAndNotWaitedFor() throws Exception {
    Path pipe = folder.resolve("pipe");
    assertThat(new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor()).isZero();

    refused(pipe, "not a regular file");
  }

  @Test
  void aHeaderOfNoiseIsReadOrRefused() {
    Random random = new Random(20261125);
    for (int round = 0; round < 20_000; round++) {
      ByteBuffer header = TestImages.header("base", "raw");
      for (int i = random.nextInt(12); i >= 0; i--) {
        header.put(random.nextInt(8, 160), (byte) random.nextInt(256));
      }
      if (random.nextInt(4) == 0) {
        header.limit(random.nextInt(header.capacity()));
      }
      try {
        assertThat(Qcow2Header.parse(header).backing().orElse("").length()).isLessThan(1024);
      } catch (IllegalArgumentException refused) {
        assertThat(refused).hasMessageMatching("its? .*|the name .*");
      }
    }
  }

  private void refused(Path image, String why) {
    assertThatThrownBy(() -> DiskImages.pin(launch(new Disk(image, Disk.Format.QCOW2, false))))
        .isInstanceOf(HyperFreshException.class)
        .hasMessageContaining(image.toString())
        .hasMessageContaining(why);
  }

  private Launch launch(Disk... disks) {
    return new Launch(
        new GuestSpec(
            "web1",
            1,
            16L << 20,
            "pc-q35-7.2",
            "qemu64",
            AcceleratorWish.TCG,
            Optional.empty(),
            List.of(disks),
            List.of()),
        new QemuRelease(
            "qemu-7.2.22",
            "7.2.22",
            Path.of("/bin/true"),
            List.of(),
            List.of(),
            "0",
            Set.of(),
            Set.of(),
            Set.of(),
            "a test"),
        Accelerator.TCG,
        memory,
        List.of(),
        files,
        folder,
        1,
        _ -> {});
  }
}
