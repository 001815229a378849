package dev.hyperfresh.qemu;

import dev.hyperfresh.linux.BoundedFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/// A block device of the host, as sysfs(5) shows it.
///
/// @param sys where sysfs is mounted
/// @param number its major and minor number, as sysfs writes them: `8:17`
record BlockDevice(Path sys, String number) {
  /// Where sysfs is mounted on every host.
  static final Path SYS = Path.of("/sys");

  // What no two devices have in common; and what a device has that says nothing of that kind.
  private static final List<String> ITS_OWN = List.of("wwid", "uuid", "serial", "file");
  private static final List<String> OTHERWISE = List.of("size", "place");

  // Of st_mode, inode(7).
  private static final int FILE_TYPE = 0xf000;
  private static final int BLOCK_DEVICE = 0x6000;

  private static final String PARTITION = "partition";
  private static final int MOST_BYTES = 4096;

  /// Counted as the kernel finds them, so that they may be others after a boot.
  private static final String COUNTED =
      "(?<![^/])(ata|virtio|host|target|nvme|session|rport-)[0-9]+";

  private static final String SCSI = "(?<![^/])[0-9]+(:[0-9]+:[0-9]+:[0-9]+)(?![^/])";

  /// What is next to a device.
  private interface Step {
    List<BlockDevice> from(BlockDevice device) throws IOException;
  }

  /// @param number of the device, as `st_rdev` of stat(2) has it
  static BlockDevice of(Path sys, long number) {
    return new BlockDevice(sys, major(number) + ":" + minor(number));
  }

  static long major(long number) {
    return ((number >>> 8) & 0xfff) | ((number >>> 32) & 0xffff_f000L);
  }

  static long minor(long number) {
    return (number & 0xff) | ((number >>> 12) & 0xffff_ff00L);
  }

  /// The one that a file stands for; empty when it is a file of another kind.
  static Optional<BlockDevice> behind(Path sys, Path file) throws IOException {
    Map<String, Object> is = Files.readAttributes(file, "unix:mode,rdev");
    return isBlockDevice(number(is, "mode"))
        ? Optional.of(of(sys, number(is, "rdev")))
        : Optional.empty();
  }

  static long number(Map<String, Object> attributes, String name) {
    return ((Number) Optional.ofNullable(attributes.get(name)).orElseThrow()).longValue();
  }

  /// Whether a file is one, by its `st_mode`.
  static boolean isBlockDevice(long mode) {
    return (mode & FILE_TYPE) == BLOCK_DEVICE;
  }

  private static BlockDevice in(Path sys, Path folder) throws IOException {
    return new BlockDevice(
        sys,
        text(folder.resolve("dev"))
            .orElseThrow(() -> new IOException(folder + " is not that of a block device")));
  }

  /// Whether sysfs has it.
  private boolean isThere() {
    return Files.exists(link());
  }

  private Path link() {
    return sys.resolve("dev/block").resolve(number);
  }

  private Path folder() throws IOException {
    return link().toRealPath();
  }

  private static boolean isPartition(Path folder) {
    return Files.exists(folder.resolve(PARTITION));
  }

  /// A folder of the kernel's has links to others, too.
  private static boolean isOwnPartition(Path entry) {
    return Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS) && isPartition(entry);
  }

  private static Path disk(Path partition) {
    return partition.resolveSibling("");
  }

  // ---- what contains what ----

  /// What it is a part of: the disk of a partition, what a logical volume lies on, and so on.
  ///
  /// @throws IOException when sysfs does not say
  Set<BlockDevice> above() throws IOException {
    return all(BlockDevice::oneAbove);
  }

  /// What is a part of it, or lies on it: the partitions of a disk, the volumes on them.
  ///
  /// @throws IOException when sysfs does not say
  Set<BlockDevice> below() throws IOException {
    return all(BlockDevice::oneBelow);
  }

  private Set<BlockDevice> all(Step step) throws IOException {
    Set<BlockDevice> found = new LinkedHashSet<>();
    Deque<BlockDevice> left = new ArrayDeque<>(step.from(this));
    while (!left.isEmpty()) {
      BlockDevice next = left.remove();
      if (found.add(next)) {
        left.addAll(step.from(next));
      }
    }
    return found;
  }

  private List<BlockDevice> oneAbove() throws IOException {
    if (!isThere()) {
      return List.of();
    }
    Path folder = folder();
    List<BlockDevice> above = devices(folder.resolve("slaves"));
    if (isPartition(folder)) {
      above.add(in(sys, disk(folder)));
    }
    return above;
  }

  private List<BlockDevice> oneBelow() throws IOException {
    if (!isThere()) {
      return List.of();
    }
    Path folder = folder();
    List<BlockDevice> below = devices(folder.resolve("holders"));
    try (Stream<Path> entries = Files.list(folder)) {
      for (Path entry : entries.filter(BlockDevice::isOwnPartition).toList()) {
        below.add(in(sys, entry));
      }
    }
    return below;
  }

  /// Those that a folder has links to.
  private List<BlockDevice> devices(Path links) throws IOException {
    List<BlockDevice> devices = new ArrayList<>();
    try (Stream<Path> entries = Files.list(links)) {
      for (Path entry : entries.toList()) {
        devices.add(in(sys, entry));
      }
    } catch (NoSuchFileException none) {
      return devices;
    }
    return devices;
  }

  /// The file that stands for it.
  ///
  /// @param dev where such files are
  Optional<Path> node(Path dev) {
    return text(link().resolve("uevent")).stream()
        .flatMap(String::lines)
        .filter(line -> line.startsWith("DEVNAME="))
        .map(line -> dev.resolve(line.substring(8)))
        .findFirst();
  }

  // ---- what it is ----

  /// By what it is known again: what it says of itself, how large it is, and where it is attached.
  /// Empty when sysfs does not have it.
  Map<String, String> marks() throws IOException {
    Map<String, String> marks = new TreeMap<>();
    if (!isThere()) {
      return marks;
    }
    Path folder = folder();
    if (isPartition(folder)) {
      marks.putAll(in(sys, disk(folder)).marks());
      text(folder.resolve(PARTITION)).ifPresent(number -> marks.put(PARTITION, number));
      return marks;
    }
    put(marks, "wwid", folder, "wwid", "device/wwid");
    put(marks, "uuid", folder, "dm/uuid", "md/uuid");
    put(marks, "serial", folder, "serial", "device/serial");
    put(marks, "file", folder, "loop/backing_file");
    if (!text(folder.resolve("removable")).equals(Optional.of("1"))) {
      // Of others it is that of what is in them.
      put(marks, "size", folder, "size");
    }
    marks.put("place", place(folder));
    return marks;
  }

  private static void put(Map<String, String> marks, String key, Path folder, String... from) {
    Stream.of(from)
        .flatMap(attribute -> text(folder.resolve(attribute)).stream())
        .findFirst()
        .ifPresent(text -> marks.put(key, text));
  }

  private String place(Path folder) throws IOException {
    Path place = sys.toRealPath().relativize(folder);
    if (place.startsWith("devices/virtual")) {
      return place.toString();
    }
    // What follows is what the kernel calls the device.
    return place
        .resolve("../..")
        .normalize()
        .toString()
        .replaceAll(COUNTED, "$1")
        .replaceAll(SCSI, "$1");
  }

  /// Whether two devices with these [#marks] are the same one. Where one said of itself what it is
  /// and the other one does not, that is not known, and so they are not.
  static boolean same(Map<String, String> before, Map<String, String> now) {
    List<String> said = ITS_OWN.stream().filter(before::containsKey).toList();
    List<String> compared =
        said.isEmpty() ? OTHERWISE : said.stream().filter(now::containsKey).toList();
    return !compared.isEmpty()
        && Stream.concat(compared.stream(), Stream.of(PARTITION))
            .allMatch(key -> Objects.equals(before.get(key), now.get(key)));
  }

  /// A device with these marks, for people.
  static String words(Map<String, String> marks) {
    String what =
        ITS_OWN.stream()
            .filter(marks::containsKey)
            .map(key -> key + " " + marks.get(key))
            .findFirst()
            .orElseGet(() -> marks.isEmpty() ? "unknown" : whatItIsOtherwise(marks));
    return marks.containsKey(PARTITION)
        ? "partition " + marks.get(PARTITION) + " of " + what
        : what;
  }

  private static String whatItIsOtherwise(Map<String, String> marks) {
    return Optional.ofNullable(marks.get("size")).map(size -> size + " sectors").orElse("a drive")
        + " at "
        + marks.get("place");
  }

  /// What stands in a file of sysfs; empty also when that cannot be read, as of a device that has
  /// no answer.
  private static Optional<String> text(Path file) {
    try {
      String text = new String(BoundedFile.read(file, MOST_BYTES), StandardCharsets.UTF_8);
      return Optional.of(text.replaceAll("[^ -~\\n]", "").strip()).filter(said -> !said.isEmpty());
    } catch (IOException e) {
      return Optional.empty();
    }
  }
}
