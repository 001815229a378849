package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.Check;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/// What the kernel says of handing the disks of a guest from one process of this host to another.
///
/// @param process the folder in proc(5) of the process that has them
/// @param locks the file `locks` of proc(5)
record DiskChecks(List<Disk> disks, Path process, Path locks) {
  DiskChecks {
    disks = List.copyOf(disks);
  }

  /// A file that a process has open, by the number of the descriptor.
  private record OpenFile(String descriptor, FileId id) {}

  /// A device is known by its own number, since it may have a file in each of several folders.
  private record FileId(Object device, Object inode) {
    static FileId of(Path file) throws IOException {
      var attributes = Files.readAttributes(file, "unix:dev,ino,mode,rdev");
      boolean isDevice = BlockDevice.isBlockDevice((int) attribute(attributes, "mode"));
      return isDevice
          ? new FileId(attribute(attributes, "rdev"), "device")
          : new FileId(attribute(attributes, "dev"), attribute(attributes, "ino"));
    }

    private static Object attribute(Map<String, Object> attributes, String name) {
      return Optional.ofNullable(attributes.get(name)).orElseThrow();
    }
  }

  List<Check> all() {
    return disks.stream().map(this::disk).toList();
  }

  /// Whether another QEMU can take the disk over: it opens the path, and the guest's data must be
  /// there and in nobody else's hands.
  private Check disk(Disk disk) {
    String name = "disk " + disk.path().getFileName();
    String path = disk.path().toString();
    try {
      if (!Files.exists(disk.path())) {
        return Check.fail(
            name,
            path + " is not there any more; the guest still uses the file that it has open.",
            "Restore that file; /proc/" + process.getFileName() + "/fd still has it.");
      }
      if (!Files.isReadable(disk.path()) || !(disk.readOnly() || Files.isWritable(disk.path()))) {
        return Check.fail(
            name,
            path + " cannot be opened for " + (disk.readOnly() ? "reading." : "writing."),
            "Correct its permissions, or mount its file system read-write.");
      }
      FileId id = FileId.of(disk.path());
      List<OpenFile> open = openFiles().stream().filter(file -> file.id().equals(id)).toList();
      return open.isEmpty()
          ? Check.fail(
              name,
              path + " is another file than the one that the guest has open.",
              "Restore the guest's own file; /proc/" + process.getFileName() + "/fd has it.")
          : locks(name, disk, open);
    } catch (IOException | UncheckedIOException e) {
      return Check.unknown(
          name, path + " could not be examined: " + e.getMessage() + ".", "Check it by hand.");
    }
  }

  private Check locks(String name, Disk disk, List<OpenFile> open) throws IOException {
    List<ImageLocks.Lock> own = new ArrayList<>();
    for (OpenFile file : open) {
      try (Stream<String> lines =
          Files.lines(process.resolve("fdinfo").resolve(file.descriptor()))) {
        // QEMU has duplicated the descriptor that it was given, and its locks show at both.
        ImageLocks.parse(lines).stream().filter(lock -> !own.contains(lock)).forEach(own::add);
      }
    }
    if (own.isEmpty()) {
      return Check.unknown(
          name,
          disk.path() + " is the guest's, but no lock on it was found.",
          "Make sure that nothing else writes to it.");
    }
    try (Stream<String> lines = Files.lines(locks)) {
      List<ImageLocks.Lock> others = ImageLocks.others(ImageLocks.parse(lines), own);
      return others.stream().anyMatch(lock -> lock.hinders(disk.readOnly()))
          ? Check.fail(
              name,
              "Another process has locked " + disk.path() + ".",
              "End it; `fuser " + disk.path() + "` names those that have the file open.")
          : Check.pass(name, disk.path() + " is the guest's, and no other process has locked it.");
    }
  }

  private List<OpenFile> openFiles() throws IOException {
    List<OpenFile> open = new ArrayList<>();
    try (Stream<Path> descriptors = Files.list(process.resolve("fd"))) {
      for (Path descriptor : descriptors.toList()) {
        idOf(descriptor)
            .ifPresent(id -> open.add(new OpenFile(String.valueOf(descriptor.getFileName()), id)));
      }
    }
    return open;
  }

  private static Optional<FileId> idOf(Path descriptor) {
    try {
      return Optional.of(FileId.of(descriptor));
    } catch (IOException e) {
      // Closed since it was listed; the disks stay open.
      return Optional.empty();
    }
  }
}
