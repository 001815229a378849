package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Reattacher;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.stream.Stream;

/// Who else has a block device that a guest is to be booted from, or one that contains it or that
/// it contains: QEMU's locks on `/dev/sdb` and on `/dev/sdb1` know nothing of each other. Two
/// partitions of one disk are no neighbours. The host itself is one where it has mounted a device.
///
/// @param sys where sysfs is mounted
/// @param dev where the files are that stand for devices
/// @param locks the file `locks` of proc(5)
/// @param mounts the file `self/mountinfo` of proc(5)
/// @param running the folders of this daemon's guests that have a process
record DiskNeighbours(Path sys, Path dev, Path locks, Path mounts, Supplier<List<Path>> running) {
  /// From the question who has a device until it can be seen that one more has it.
  private static final ReentrantLock STARTS = new ReentrantLock();

  /// Those on this host.
  ///
  /// @param guests where the guests' folders are
  static DiskNeighbours onHost(Path guests) {
    return new DiskNeighbours(
        BlockDevice.SYS,
        Path.of("/dev"),
        Path.of("/proc/locks"),
        Path.of("/proc/self/mountinfo"),
        () ->
            GuestProcesses.in(guests).survivors().stream()
                .map(Reattacher.Survivor::files)
                .distinct()
                .toList());
  }

  /// Starts a process, and no other one meanwhile that is to have block devices.
  static <T> T oneAtATime(Launch launch, boolean waiting, Supplier<T> start) {
    boolean concerns =
        !waiting && launch.spec().disks().stream().anyMatch(disk -> disk.path().startsWith("/dev"));
    if (!concerns) {
      return start.get();
    }
    STARTS.lock();
    try {
      return start.get();
    } finally {
      STARTS.unlock();
    }
  }

  /// Finds nobody who has what these disks of a guest may not share, or says who that is.
  ///
  /// @param files the guest's folder
  /// @throws DiskImages.DiskChanged with that, also when it cannot be told
  void require(Path files, List<DiskUse> disks) {
    for (DiskUse disk : disks) {
      try {
        Set<BlockDevice> parts = new LinkedHashSet<>(disk.device().above());
        parts.addAll(disk.device().below());
        requireUnlocked(disk, parts);
        requireFree(disk, parts, "the same guest", disks);
        parts.add(disk.device());
        requireUnmounted(disk, parts);
        others(files).forEach((guest, theirs) -> requireFree(disk, parts, guest, theirs));
      } catch (IOException e) {
        throw new DiskImages.DiskChanged(
            "It cannot be told who else has " + disk.path() + ": " + e.getMessage());
      }
    }
  }

  private static void requireFree(
      DiskUse disk, Set<BlockDevice> parts, String guest, List<DiskUse> theirs) {
    for (DiskUse other : theirs) {
      if (parts.contains(other.device()) && !disk.onlyReadWith(other)) {
        throw new DiskImages.DiskChanged(
            disk.path()
                + " shares its sectors with "
                + other.path()
                + ", which "
                + guest
                + " has.");
      }
    }
  }

  private Map<String, List<DiskUse>> others(Path files) throws IOException {
    Map<String, List<DiskUse>> others = new TreeMap<>();
    for (Path folder : running.get()) {
      if (!folder.equals(files)) {
        others.put("guest " + folder.getFileName(), DiskImages.devices(folder, sys));
      }
    }
    return others;
  }

  /// Of other daemons' guests, and of whatever else runs a QEMU.
  private void requireUnlocked(DiskUse disk, Set<BlockDevice> parts) throws IOException {
    List<ImageLocks.Lock> held;
    try (Stream<String> lines = Files.lines(locks)) {
      held = ImageLocks.parse(lines);
    }
    for (BlockDevice part : parts) {
      Path node = part.node(dev).orElse(dev);
      String file = fileOf(node);
      if (held.stream()
          .anyMatch(lock -> lock.file().equals(file) && lock.hinders(disk.readOnly()))) {
        throw new DiskImages.DiskChanged(
            disk.path()
                + " shares its sectors with "
                + node
                + ", which another process has locked.");
      }
    }
  }

  /// Two who write to one file system destroy it.
  private void requireUnmounted(DiskUse disk, Set<BlockDevice> parts) throws IOException {
    if (disk.readOnly()) {
      return;
    }
    Set<String> devices = new HashSet<>();
    for (BlockDevice part : parts) {
      devices.add(part.number());
      part.node(dev).ifPresent(node -> devices.add(node.toString()));
    }
    try (Stream<String> lines = Files.lines(mounts)) {
      lines
          .map(line -> line.split(" "))
          .filter(mount -> mount.length > 4 && isOf(devices, mount))
          .findFirst()
          .ifPresent(mount -> {
            throw new DiskImages.DiskChanged(
                disk.path() + " is in use by this host, which has mounted it at " + mount[4] + ".");
          });
    }
  }

  /// Some file systems have a number of their own; of these the device stands last but one.
  private boolean isOf(Set<String> devices, String[] mount) {
    return devices.contains(mount[2]) || devices.contains(file(mount[mount.length - 2]));
  }

  /// What a name in /dev leads to. Anybody can mount something with another name.
  private String file(String name) {
    try {
      Path path = Path.of(name).normalize();
      return path.startsWith(dev) ? path.toRealPath().toString() : "";
    } catch (IOException | InvalidPathException e) {
      return "";
    }
  }

  /// As the kernel writes it in the list of locks; empty for a file that is not there.
  private static String fileOf(Path node) throws IOException {
    try {
      Map<String, Object> is = Files.readAttributes(node, "unix:dev,ino");
      long on = BlockDevice.number(is, "dev");
      return "%02x:%02x:%d"
          .formatted(BlockDevice.major(on), BlockDevice.minor(on), BlockDevice.number(is, "ino"));
    } catch (NoSuchFileException none) {
      return "";
    }
  }
}
