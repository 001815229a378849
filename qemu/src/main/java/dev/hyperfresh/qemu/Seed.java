package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Devices.CloudInit;
import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.DiskDrive;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/// The disk on which cloud-init in a guest finds what it is to do: an image in the guest's folder,
/// the last of its disks.
final class Seed {
  private static final String NAME = "seed.iso";

  /// What cloud-init looks for.
  private static final String LABEL = "CIDATA";

  private static final int MOST_BYTES = 1 << 20;

  private Seed() {}

  /// The disks of a guest: those of its spec, and its seed.
  static List<Disk> disks(Launch launch) {
    List<Disk> disks = new ArrayList<>(launch.spec().disks());
    if (launch.spec().devices().cloudInit().isPresent()) {
      disks.add(
          new Disk(
              image(launch), Disk.Format.RAW, true, DiskDrive.virtio("cidata"), DiskAccess.PLAIN));
    }
    return disks;
  }

  private static Path image(Launch launch) {
    return launch.files().resolve(NAME);
  }

  /// Makes the image, anew for each spec: its files may change afterwards.
  ///
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#SPEC_FILE_MISSING] or
  ///   [Problem#DAEMON_STATE]
  static void pin(Launch launch) {
    Optional<CloudInit> wanted = launch.spec().devices().cloudInit();
    if (wanted.isEmpty()) {
      return;
    }
    IsoImage image = new IsoImage(LABEL, files(launch.spec().name(), wanted.get()));
    Path file = image(launch);
    try {
      // A process of an earlier start may still have the old one open.
      Files.deleteIfExists(file);
      Files.write(file, image.bytes());
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  private static List<IsoImage.Entry> files(String guest, CloudInit seed) {
    List<IsoImage.Entry> files = new ArrayList<>();
    files.add(new IsoImage.Entry("user-data", read(seed.userData())));
    files.add(
        new IsoImage.Entry(
            "meta-data", seed.metaData().map(Seed::read).orElseGet(() -> named(guest))));
    seed.networkConfig()
        .ifPresent(file -> files.add(new IsoImage.Entry("network-config", read(file))));
    return files;
  }

  /// By the id cloud-init knows whether it has been here before.
  private static ByteBuffer named(String guest) {
    return StandardCharsets.UTF_8.encode(
        "instance-id: " + guest + "\nlocal-hostname: " + guest + "\n");
  }

  private static ByteBuffer read(Path file) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new IOException("is not a regular file");
      }
      return ByteBuffer.wrap(BoundedFile.read(file, MOST_BYTES));
    } catch (IOException e) {
      throw Problem.SPEC_FILE_MISSING.because(file + ": " + e.getMessage(), e);
    }
  }
}
