package dev.hyperfresh.qemu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/// A sysfs(5) with block devices, in a folder, and the files that stand for them.
final class FakeSys {
  final Path sys;
  final Path dev;

  FakeSys(Path folder) throws IOException {
    sys = Files.createDirectories(folder.resolve("sys"));
    dev = Files.createDirectories(folder.resolve("dev"));
    Files.createDirectories(sys.resolve("dev/block"));
  }

  /// A whole device.
  ///
  /// @param at where it is attached
  /// @param attributes what stands in its files
  BlockDevice disk(String at, String name, String number, Map<String, String> attributes)
      throws IOException {
    Path folder = sys.resolve("devices").resolve(at).resolve("block").resolve(name);
    add(folder, name, number);
    for (Map.Entry<String, String> attribute : attributes.entrySet()) {
      write(folder.resolve(attribute.getKey()), attribute.getValue());
    }
    return new BlockDevice(sys, number);
  }

  /// A partition of a disk.
  BlockDevice partition(BlockDevice disk, int which, String number) throws IOException {
    Path folder = folder(disk);
    String name = String.valueOf(folder.getFileName()) + which;
    add(folder.resolve(name), name, number);
    write(folder.resolve(name).resolve("partition"), Integer.toString(which));
    return new BlockDevice(sys, number);
  }

  /// One is made of another one.
  void liesOn(BlockDevice upper, BlockDevice lower) throws IOException {
    link(folder(upper).resolve("slaves"), folder(lower));
    link(folder(lower).resolve("holders"), folder(upper));
  }

  private Path folder(BlockDevice device) throws IOException {
    return sys.resolve("dev/block").resolve(device.number()).toRealPath();
  }

  private void add(Path folder, String name, String number) throws IOException {
    write(folder.resolve("dev"), number);
    write(folder.resolve("size"), "2048");
    write(folder.resolve("uevent"), "MAJOR=1\nDEVNAME=" + name + "\nDEVTYPE=disk");
    // What a folder of the kernel's has besides.
    Files.createDirectories(folder.resolve("queue"));
    Files.createDirectories(folder.resolve("holders"));
    Files.createSymbolicLink(folder.resolve("subsystem"), sys);
    Path byNumber = sys.resolve("dev/block").resolve(number);
    Files.deleteIfExists(byNumber);
    Files.createSymbolicLink(byNumber, folder);
    Files.writeString(dev.resolve(name), "");
  }

  private static void link(Path links, Path to) throws IOException {
    Files.createSymbolicLink(Files.createDirectories(links).resolve(to.getFileName()), to);
  }

  private static void write(Path file, String text) throws IOException {
    Files.createDirectories(file.resolveSibling(""));
    Files.writeString(file, text + "\n");
  }
}
