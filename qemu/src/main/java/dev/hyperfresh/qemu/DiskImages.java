package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.DiskAccess;
import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.HyperFreshException;
import dev.hyperfresh.hypervisor.Launch;
import dev.hyperfresh.hypervisor.Problem;
import dev.hyperfresh.linux.BoundedFile;
import dev.hyperfresh.linux.Fd;
import dev.hyperfresh.linux.Host;
import dev.hyperfresh.linux.LinuxException;
import dev.hyperfresh.linux.OpenFlags;
import dev.hyperfresh.linux.PrivateFile;
import dev.hyperfresh.linux.Unprivileged;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
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

  /// An image of a disk.
  ///
  /// @param device number of the device that the file lies on, or that it is
  /// @param inode its number there: with the device, what it is rather than what it is called;
  ///   [#DEVICE] of a block device
  /// @param boot of the host in which the device had that number, which may be another one after
  ///   the next; empty in what an earlier version wrote
  record Image(
      Path path, Disk.Format format, boolean readOnly, long device, long inode, String boot) {
    /// In place of an inode, which no file has: a block device. Its path in /dev is what it is:
    /// only root decides what stands there, and [DeviceNames] what it may mean.
    static final long DEVICE = 0;

    Image {
      boot = Objects.requireNonNullElse(boot, "");
    }

    private boolean isDevice() {
      return inode == DEVICE;
    }

    private boolean isOfThisBoot() {
      return boot.equals(Host.bootId());
    }

    /// The same with its number in this boot.
    private Image numbered(long number) {
      return new Image(path, format, readOnly, number, inode, Host.bootId());
    }
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
    images.write(launch.files());
    return images;
  }

  private void write(Path files) {
    Path file = files.resolve(NAME);
    try {
      PrivateFile.replace(file, QmpMessage.JSON.writeValueAsBytes(this));
    } catch (IOException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be written: " + e.getMessage(), e);
    }
  }

  /// What was decided; a guest of an earlier version has it decided now.
  static DiskImages of(Launch launch) {
    Path file = launch.files().resolve(NAME);
    if (Seed.disks(launch).isEmpty()) {
      return new DiskImages(List.of());
    }
    return Files.exists(file) ? read(file) : decide(launch);
  }

  private static DiskImages read(Path file) {
    try {
      return QmpMessage.JSON.readValue(
          BoundedFile.read(file, BoundedFile.STATE_BYTES), DiskImages.class);
    } catch (IOException | JacksonException e) {
      throw Problem.DAEMON_STATE.because(file + " cannot be read: " + e.getMessage(), e);
    }
  }

  /// The block devices of a guest that runs, by its folder.
  ///
  /// @param sys where sysfs is mounted
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  static List<DiskUse> devices(Path files, Path sys) throws IOException {
    Path file = files.resolve(NAME);
    List<DiskUse> devices = new ArrayList<>();
    for (Image image : Files.exists(file) ? read(file).all() : List.<Image>of()) {
      if (image.isDevice()) {
        Optional<BlockDevice> device =
            image.isOfThisBoot()
                ? Optional.of(BlockDevice.of(sys, image.device()))
                : BlockDevice.behind(sys, image.path());
        device.ifPresent(is -> devices.add(new DiskUse(image.path(), image.readOnly(), is)));
      }
    }
    return devices;
  }

  private List<Image> all() {
    return disks.stream().flatMap(List::stream).toList();
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
      return new Image(
          path, format, readOnly, number(file, "dev"), number(file, "ino"), Host.bootId());
    }
    if (!top || !isBlockDevice(file)) {
      throw refused(path, "is not a regular file" + (top ? ", nor a block device" : ""));
    }
    if (!path.startsWith("/dev") || path.startsWith("/dev/shm")) {
      throw refused(path, "leads to a block device; name that by its path in /dev");
    }
    return new Image(path, format, readOnly, number(file, "rdev"), Image.DEVICE, Host.bootId());
  }

  private static boolean isBlockDevice(Fd file) throws IOException {
    return BlockDevice.isBlockDevice(number(file, "mode"));
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
  /// @param waiting whether an instance has the same ones open, of which the guest's state comes
  /// @throws LinuxException when one cannot be opened
  /// @throws DiskChanged when one is not what it was
  void openInto(Map<Integer, Fd> descriptors, List<Disk> wanted, boolean waiting) {
    int number = Descriptors.FIRST_IMAGE;
    for (int i = 0; i < disks.size(); i++) {
      // QEMU from 9.1 on takes no other descriptor of a set, and does not make it one.
      int direct = wanted.get(i).access().cache().direct() ? OpenFlags.DIRECT : 0;
      for (Image image : disks.get(i)) {
        Fd file = open(image.path(), image.readOnly(), direct);
        descriptors.put(number++, file);
        requireSame(image, file, waiting);
      }
    }
  }

  private static void requireSame(Image image, Fd file, boolean waiting) {
    try {
      boolean same =
          image.isDevice()
              ? isBlockDevice(file)
                  && (!waiting || !image.isOfThisBoot() || number(file, "rdev") == image.device())
              : number(file, "ino") == image.inode()
                  && (isRenumbered(image, waiting) || number(file, "dev") == image.device());
      if (!same) {
        throw new DiskChanged(
            image.path()
                + " is not the "
                + (image.isDevice() ? "device" : "file")
                + " that the guest was started with.");
      }
    } catch (IOException e) {
      throw new DiskChanged(image.path() + ": " + e.getMessage());
    }
  }

  /// File systems of several devices, of the network and in memory have another number whenever
  /// they are mounted, and those on a disk when the disk has.
  private static boolean isRenumbered(Image image, boolean waiting) {
    return !waiting && !image.isOfThisBoot();
  }

  /// Of an instance that boots the guest, after [#openInto]: requires that block devices are those
  /// that were meant, and nobody else's, and writes down as what later instances have to find all.
  ///
  /// @throws DiskChanged when they are not
  /// @throws HyperFreshException [Problem#DAEMON_STATE]
  void begin(Launch launch, Map<Integer, Fd> descriptors) {
    DiskImages now = numbered(descriptors);
    List<DiskUse> devices =
        now.all().stream()
            .filter(Image::isDevice)
            .map(image ->
                new DiskUse(
                    image.path(),
                    image.readOnly(),
                    BlockDevice.of(BlockDevice.SYS, image.device())))
            .toList();
    Path files = launch.files();
    DeviceNames.require(files, devices);
    if (!devices.isEmpty()) {
      DiskNeighbours.onHost(files.resolveSibling("")).require(files, devices);
    }
    if (!now.equals(this)) {
      now.write(files);
    }
  }

  private DiskImages numbered(Map<Integer, Fd> descriptors) {
    List<List<Image>> numbered = new ArrayList<>();
    int number = Descriptors.FIRST_IMAGE;
    for (List<Image> chain : disks) {
      List<Image> now = new ArrayList<>();
      for (Image image : chain) {
        Fd file = Optional.ofNullable(descriptors.get(number++)).orElseThrow();
        try {
          now.add(image.numbered(number(file, image.isDevice() ? "rdev" : "dev")));
        } catch (IOException e) {
          throw new DiskChanged(image.path() + ": " + e.getMessage());
        }
      }
      numbered.add(now);
    }
    return new DiskImages(numbered);
  }

  /// A path leads to another file by now, or to one that somebody else has.
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
    file.put("driver", image.isDevice() ? "host_device" : "file");
    file.put("filename", Descriptors.inSet(descriptor));
    file.put("locking", "on");
    if (access.aio() != DiskAccess.PLAIN.aio()) {
      file.put("aio", access.aio().label());
    }
    return file;
  }
}
