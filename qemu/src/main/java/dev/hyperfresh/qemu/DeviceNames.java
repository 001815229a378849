package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.PrivateFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;

/// What names of block devices mean to their guest. After a boot of the host `/dev/sdb` is
/// whichever disk is found second then, and a guest that wrote to another one would destroy it. So
/// it is written down in the guest's folder, when the guest is made or its spec first has the name,
/// which one is meant, and an edit changes nothing of that: it may be about something else. Names
/// that their makers promise to keep may mean a new device: that is what they are for.
///
/// @param devices the [BlockDevice#marks] of each, by its path
record DeviceNames(Map<String, Map<String, String>> devices) {
  private static final String NAME = "devices.json";
  private static final Path DEV = Path.of("/dev");

  /// Folders whose names count devices, or are their numbers.
  private static final Set<Path> COUNTED =
      Set.of(
          DEV,
          Path.of("/dev/block"),
          Path.of("/dev/cciss"),
          Path.of("/dev/ida"),
          Path.of("/dev/disk/by-diskseq"));

  DeviceNames {
    devices = Map.copyOf(devices);
  }

  /// Whether a name may mean another device after a boot.
  static boolean mayChange(Path path) {
    Path folder = path.normalize().getParent();
    return folder != null && COUNTED.contains(folder);
  }

  /// Writes down what those of a spec mean now that it has not had before.
  ///
  /// @param files the guest's folder
  /// @param sys where sysfs is mounted
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#GUEST_DISK] when one means
  ///   another device by now, [Problem#SPEC_FILE_MISSING] or [Problem#DAEMON_STATE]
  static void remember(GuestSpec spec, Path files, Path sys) {
    List<Path> names =
        spec.disks().stream().map(Disk::path).filter(DeviceNames::mayChange).toList();
    if (names.isEmpty()) {
      return;
    }
    // A guest that runs may still need what others of them meant.
    Map<String, Map<String, String>> meanings = new TreeMap<>(read(files).devices());
    for (Path name : names) {
      try {
        Optional<BlockDevice> device = BlockDevice.behind(sys, name);
        if (device.isPresent()) {
          meanings.put(name.toString(), meant(meanings, name, device.get().marks()));
        }
      } catch (IOException e) {
        throw Problem.SPEC_FILE_MISSING.because(name + ": " + e.getMessage(), e);
      } catch (DiskImages.DiskChanged e) {
        throw Problem.GUEST_DISK.because(String.valueOf(e.getMessage()), e);
      }
    }
    write(files, meanings);
  }

  /// What a device that has this name now says of itself, if it is the one that was meant.
  private static Map<String, String> meant(
      Map<String, Map<String, String>> meanings, Path name, Map<String, String> marks) {
    Map<String, String> meant = meanings.getOrDefault(name.toString(), Map.of());
    if (!meant.isEmpty() && !BlockDevice.same(meant, marks)) {
      throw new DiskImages.DiskChanged(
          name
              + " is another device than before: it was "
              + BlockDevice.words(meant)
              + ", and is "
              + BlockDevice.words(marks)
              + ".");
    }
    return marks;
  }

  /// Compares it with the devices that were opened, and writes down what is not there, as of a
  /// guest of an earlier version.
  ///
  /// @throws DiskImages.DiskChanged when a name means another device
  /// @throws dev.hyperfresh.hypervisor.HyperFreshException [Problem#DAEMON_STATE]
  static void require(Path files, List<DiskUse> disks) {
    Map<String, Map<String, String>> before = read(files).devices();
    Map<String, Map<String, String>> now = new TreeMap<>();
    for (DiskUse disk : disks) {
      if (mayChange(disk.path())) {
        now.put(disk.path().toString(), meant(before, disk.path(), marks(disk)));
      }
    }
    if (!now.equals(before)) {
      write(files, now);
    }
  }

  private static Map<String, String> marks(DiskUse disk) {
    try {
      return disk.device().marks();
    } catch (IOException e) {
      throw new DiskImages.DiskChanged(
          "It cannot be told which device " + disk.path() + " is: " + e.getMessage());
    }
  }

  private static DeviceNames read(Path files) {
    Path file = files.resolve(NAME);
    if (!Files.exists(file)) {
      return new DeviceNames(Map.of());
    }
    try {
      return QmpMessage.JSON.readValue(
          BoundedFile.read(file, BoundedFile.STATE_BYTES), DeviceNames.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  private static void write(Path files, Map<String, Map<String, String>> devices) {
    Path file = files.resolve(NAME);
    try {
      PrivateFile.replace(file, QmpMessage.JSON.writeValueAsBytes(new DeviceNames(devices)));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }
}
