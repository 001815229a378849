package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;

/// The images of a guest's disks, opened here and handed to QEMU as descriptors.
///
/// Which files they are is decided once, before the guest's first start, and written down: from
/// then on the guest's hypervisor can write whatever it likes into its images and their folders may
/// change, and neither makes the daemon open another file with its rights.
///
/// @param disks for each disk of the spec, and for the seed if there is one, its image and those
///   below it
record DiskImages(List<List<Image>> disks) {
  private static final String NAME = "disks.json";
  private static final int DEEPEST = 16;

  // Of st_mode, inode(7).
  private static final int FILE_TYPE = 0xf000;
  private static final int BLOCK_DEVICE = 0x6000;

  /// An image of a disk.
  ///
  /// @param device number of the device that the file lies on, or that it is
  /// @param inode its number there: with the device, what it is rather than what it is called;
  ///   [#DEVICE] of a block device
  record Image(Path path, Disk.Format format, boolean readOnly, long device, long inode) {
    /// In place of an inode, which no file has: a block device. Its path in /dev is what it is:
    /// only root decides what stands there, and its numbers may be others after a boot.
    static final long DEVICE = 0;
  }

  DiskImages {
    disks = disks.stream().map(List::copyOf).toList();
  }

  /// Decides, and writes it into the guest's folder.
  ///
  /// @throws HyperFreshException [Problem#SPEC_FILE_MISSING] or [Problem#SPEC_INVALID]
  static DiskImages pin(Launch launch) {
    launch.spec().disks().forEach(DiskImages::requireRaw);
    return decide(launch);
  }

  private static DiskImages decide(Launch launch) {
    DiskImages images = new DiskImages(Seed.disks(launch).stream().map(DiskImages::chain).toList());
    Path file = launch.files().resolve(NAME);
    try {
      Files.write(file, QmpMessage.JSON.writeValueAsBytes(images));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
    return images;
  }

  /// What was decided; a guest of an earlier version has it decided now.
  static DiskImages of(Launch launch) {
    Path file = launch.files().resolve(NAME);
    if (Seed.disks(launch).isEmpty()) {
      return new DiskImages(List.of());
    }
    if (!Files.exists(file)) {
      return decide(launch);
    }
    try {
      return QmpMessage.JSON.readValue(
          BoundedFile.read(file, BoundedFile.STATE_BYTES), DiskImages.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// A file of another format that is called raw would give its guest the file's bytes in place of
  /// the disk, and a disk that its guest wrote would be lost.
  private static void requireRaw(Disk disk) {
    if (disk.format() != Disk.Format.RAW) {
      return;
    }
    try (Fd file = open(disk.path(), true)) {
      if (Files.isRegularFile(opened(file))) {
        ImageMagic.of(file)
            .ifPresent(format -> {
              throw refused(
                  disk.path(),
                  "is an image of format "
                      + format
                      + ", and the spec calls it raw; write `format: qcow2`, or convert it with"
                      + " `qemu-img convert -O qcow2`");
            });
      }
    } catch (LinuxException e) {
      throw Problem.SPEC_FILE_MISSING.because(disk.path() + ": " + e.getMessage(), e);
    }
  }

  private static List<Image> chain(Disk disk) {
    List<Image> chain = new ArrayList<>();
    Path path = disk.path();
    Disk.Format format = disk.format();
    boolean readOnly = disk.readOnly();
    while (true) {
      try (Fd file = open(path, true)) {
        chain.add(image(path, file, format, readOnly, chain.isEmpty()));
        if (format == Disk.Format.RAW) {
          return chain;
        }
        Qcow2Header header = Qcow2Header.read(file);
        if (header.externalData()) {
          throw refused(path, "keeps its data in another file");
        }
        if (header.backing().isEmpty()) {
          return chain;
        }
        if (chain.size() == DEEPEST) {
          throw refused(disk.path(), "has more than " + (DEEPEST - 1) + " backing files");
        }
        format = format(path, header);
        path = below(path, header.backing().get());
        readOnly = true;
      } catch (LinuxException | IOException e) {
        throw Problem.SPEC_FILE_MISSING.because(path + ": " + e.getMessage(), e);
      } catch (IllegalArgumentException e) {
        throw refused(path, "is not an image of the given format: " + e.getMessage());
      }
    }
  }

  /// @param top whether the spec names it: what stands in the header of an image is no block device
  private static Image image(Path path, Fd file, Disk.Format format, boolean readOnly, boolean top)
      throws IOException {
    if (Files.isRegularFile(opened(file))) {
      return new Image(path, format, readOnly, number(file, "dev"), number(file, "ino"));
    }
    if (!top || !isBlockDevice(file)) {
      throw refused(path, "is not a regular file" + (top ? ", nor a block device" : ""));
    }
    if (!path.startsWith("/dev") || path.startsWith("/dev/shm")) {
      throw refused(path, "leads to a block device; name that by its path in /dev");
    }
    return new Image(path, format, readOnly, number(file, "rdev"), Image.DEVICE);
  }

  private static boolean isBlockDevice(Fd file) throws IOException {
    return (number(file, "mode") & FILE_TYPE) == BLOCK_DEVICE;
  }

  private static Disk.Format format(Path image, Qcow2Header header) {
    String format = header.backingFormat().orElse("");
    return switch (format) {
      case "raw" -> Disk.Format.RAW;
      case "qcow2" -> Disk.Format.QCOW2;
      default ->
          throw refused(
              image,
              "names a backing file of format '"
                  + format
                  + "'; `qemu-img rebase -u -F raw|qcow2` names the right one");
    };
  }

  /// The backing file of `image`. The image alone names it, and its author need not be who made the
  /// guest; so it must lie beside the image, or be a file that anyone may read.
  private static Path below(Path image, String name) {
    try {
      Path folder = image.toAbsolutePath().getParent();
      if (folder == null || name.indexOf('\0') >= 0 || name.split("/", 2)[0].contains(":")) {
        throw refused(image, "has the backing file '" + printable(name) + "', which is not a file");
      }
      Path below = folder.resolve(name).normalize();
      Path real = below.toRealPath();
      boolean beside = folder.toRealPath().equals(real.getParent());
      if (!beside && Unprivileged.closedOn(real).isPresent()) {
        throw refused(
            image,
            "has the backing file "
                + below
                + ", which is neither in the same folder nor readable by everyone");
      }
      return below;
    } catch (InvalidPathException | IOException e) {
      throw Problem.SPEC_FILE_MISSING.because(
          image + " has the backing file '" + printable(name) + "', which cannot be found.", e);
    }
  }

  private static String printable(String name) {
    return name.replaceAll("[^ -~]", "?");
  }

  private static HyperFreshException refused(Path image, String why) {
    return Problem.SPEC_INVALID.because("disks: " + image + " " + why + ".");
  }

  /// Opens every image: a new open file for each instance, because QEMU's locks belong to it.
  ///
  /// @param descriptors where they are added under their numbers; the caller owns them, also those
  ///   that were opened before a failure
  /// @param wanted the disks that they are of, in the same order
  /// @throws LinuxException when one cannot be opened, or is not the file it was
  void openInto(Map<Integer, Fd> descriptors, List<Disk> wanted) {
    int number = Descriptors.FIRST_IMAGE;
    for (int i = 0; i < disks.size(); i++) {
      // QEMU from 9.1 on takes no other descriptor of a set, and does not make it one.
      int direct = wanted.get(i).access().cache().direct() ? OpenFlags.DIRECT : 0;
      for (Image image : disks.get(i)) {
        Fd file = open(image.path(), image.readOnly(), direct);
        descriptors.put(number++, file);
        requireSame(image, file);
      }
    }
  }

  private static void requireSame(Image image, Fd file) {
    try {
      boolean same =
          image.inode() == Image.DEVICE
              ? isBlockDevice(file)
              : number(file, "dev") == image.device() && number(file, "ino") == image.inode();
      if (!same) {
        throw new DiskChanged(image.path() + " is not the file that the guest was started with.");
      }
    } catch (IOException e) {
      throw new DiskChanged(image.path() + ": " + e.getMessage());
    }
  }

  /// A path leads to another file by now.
  static final class DiskChanged extends RuntimeException {
    private static final long serialVersionUID = 1L;

    DiskChanged(String message) {
      super(message);
    }
  }

  /// Without waiting, as a pipe would let it.
  private static Fd open(Path path, boolean readOnly) {
    return open(path, readOnly, 0);
  }

  private static Fd open(Path path, boolean readOnly, int more) {
    int access = readOnly ? OpenFlags.READ_ONLY : OpenFlags.READ_WRITE;
    return Fd.open(path, access | OpenFlags.NON_BLOCKING | more);
  }

  private static Path opened(Fd file) {
    return Path.of("/proc/self/fd", Integer.toString(file.number()));
  }

  /// Of the open file, whatever its path means by now.
  private static long number(Fd file, String attribute) throws IOException {
    return ((Number) Files.getAttribute(opened(file), "unix:" + attribute)).longValue();
  }

  /// The arguments of disk `index`: its block nodes and the descriptors that they are made of.
  ///
  /// @param access how it is read and written
  List<String> arguments(int index, DiskAccess access) {
    int first =
        Descriptors.FIRST_IMAGE + disks.subList(0, index).stream().mapToInt(List::size).sum();
    List<Image> chain = disks.get(index);
    List<String> line = new ArrayList<>();
    for (int i = 0; i < chain.size(); i++) {
      line.addAll(List.of("-add-fd", "fd=" + (first + i) + ",set=" + (first + i)));
    }
    line.addAll(
        List.of(
            "-blockdev", QmpMessage.JSON.writeValueAsString(node(chain, 0, index, first, access))));
    return line;
  }

  private static Map<String, @Nullable Object> node(
      List<Image> chain, int depth, int disk, int first, DiskAccess access) {
    Image image = chain.get(depth);
    Map<String, @Nullable Object> node = new LinkedHashMap<>();
    node.put("driver", image.format().label());
    if (depth == 0) {
      node.put("node-name", "disk" + disk);
    }
    node.put("read-only", image.readOnly());
    if (access.cache().direct() || access.cache().noFlush()) {
      // Nodes below take it over.
      node.put(
          "cache", Map.of("direct", access.cache().direct(), "no-flush", access.cache().noFlush()));
    }
    if (access.discard() && depth == 0) {
      node.put("discard", "unmap");
    }
    node.put("file", file(image, first + depth, access));
    if (depth + 1 < chain.size()) {
      node.put("backing", node(chain, depth + 1, disk, first, access));
    } else if (image.format() == Disk.Format.QCOW2) {
      // Whatever the image has come to say since, it stands on nothing.
      node.put("backing", null);
    }
    return node;
  }

  private static Map<String, Object> file(Image image, int descriptor, DiskAccess access) {
    Map<String, Object> file = new LinkedHashMap<>();
    file.put("driver", image.inode() == Image.DEVICE ? "host_device" : "file");
    file.put("filename", Descriptors.inSet(descriptor));
    file.put("locking", "on");
    if (access.aio() != DiskAccess.PLAIN.aio()) {
      file.put("aio", access.aio().label());
    }
    return file;
  }
}
