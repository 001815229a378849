package dev.hyperfresh.qemu;

import dev.hyperfresh.hypervisor.GuestSpec.Disk;
import dev.hyperfresh.hypervisor.GuestSpec.Disk.Format;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The drives and block nodes of a foreign command line: local images, by absolute paths and with
/// the formats that were guessed.
final class ForeignDrives implements ForeignSubject {
  /// Possessive: anything else would need a stack as deep as a word is long.
  private static final Pattern BELOW = Pattern.compile("^(?:(?:file|backing)\\.)++");

  private static final Pattern PROTOCOL = Pattern.compile("[a-zA-Z0-9+_-]+:.*", Pattern.DOTALL);

  private static final Set<String> DRIVE_KEYS =
      Set.of(
          "if",
          "file",
          "format",
          "driver",
          "id",
          "index",
          "bus",
          "unit",
          "media",
          "readonly",
          "read-only",
          "auto-read-only",
          "cache",
          "cache.direct",
          "cache.no-flush",
          "cache.writeback",
          "aio",
          "discard",
          "detect-zeroes",
          "werror",
          "rerror",
          "copy-on-read",
          "snapshot",
          "file.driver",
          "file.filename",
          "file.locking",
          "file.node-name",
          "node-name",
          "group",
          "bps",
          "bps_rd",
          "bps_wr",
          "iops",
          "iops_rd",
          "iops_wr",
          "bps_max",
          "iops_max",
          "lazy-refcounts",
          "l2-cache-size",
          "refcount-cache-size",
          "cache-size",
          "cache-clean-interval");

  private static final Set<String> NODE_KEYS =
      Set.of(
          "driver",
          "node-name",
          "filename",
          "file",
          "backing",
          "read-only",
          "auto-read-only",
          "discard",
          "cache.direct",
          "cache.no-flush",
          "detect-zeroes",
          "locking",
          "aio",
          "aio-max-batch",
          "force-share",
          "lazy-refcounts",
          "l2-cache-size",
          "refcount-cache-size",
          "cache-size",
          "cache-clean-interval",
          "offset",
          "size",
          "discard-no-unref",
          "throttle-group",
          "pass-discard-request",
          "pass-discard-snapshot",
          "pass-discard-other",
          "overlap-check");

  private static final Set<String> NODE_DRIVERS =
      Set.of("file", "host_device", "raw", "qcow2", "throttle", "null-co", "null-aio");

  private final ForeignFolders folders;
  private final LiveMachine live;
  private final List<Disk> disks = new ArrayList<>();
  private final Set<Path> images = new LinkedHashSet<>();

  ForeignDrives(ForeignFolders folders, LiveMachine live) {
    this.folders = folders;
    this.live = live;
  }

  /// What people call the guest's disks.
  List<Disk> disks() {
    return disks;
  }

  /// Every image file that is opened.
  Set<Path> images() {
    return images;
  }

  @Override
  public ForeignVerdict read(ForeignPiece piece) {
    ForeignVerdict verdict = ForeignVerdict.of(piece);
    switch (piece.option()) {
      case BLOCKDEV -> node(piece, verdict);
      // The last letter counts.
      case HDA, HDB, HDC, HDD ->
          image(piece, verdict, "index=" + (piece.option().word().charAt(3) - 'a') + ",media=disk");
      case CDROM -> image(piece, verdict, "index=2,media=cdrom");
      case PFLASH -> image(piece, verdict, "if=pflash");
      default -> drive(verdict.pairs(piece, "file"), verdict);
    }
    return verdict;
  }

  private void image(ForeignPiece piece, ForeignVerdict verdict, String place) {
    String file = "file=" + piece.value().replace(",", ",,");
    drive(verdict.pairs(file + "," + place, ""), verdict);
  }

  private void drive(Suboptions drive, ForeignVerdict verdict) {
    verdict.refuseUnknown(
        drive.values().keySet().stream()
            .filter(key -> !key.startsWith("throttling."))
            .collect(Collectors.toCollection(LinkedHashSet::new)),
        DRIVE_KEYS);
    if (drive.isOn("snapshot")) {
      verdict.refuse("writes go to a file that has no name (snapshot)");
    }
    if (!drive.get("file.driver", "file").equals("file")) {
      verdict.refuse("only local files can be taken over");
    }
    String key = drive.get("file").isPresent() ? "file" : "file.filename";
    Optional<String> file = drive.get(key).filter(value -> !value.isEmpty());
    if (file.isEmpty()) {
      verdict.words("-drive", drive.text());
      return;
    }
    Optional<Path> path = imagePath(file.get(), verdict);
    if (path.isEmpty()) {
      return;
    }
    // A format that QEMU guesses is the guest's to decide at every start anew.
    Optional<String> format =
        drive
            .get("format")
            .or(() -> drive.get("driver"))
            .or(() -> live.format(Path.of(file.get())));
    if (format.isEmpty() && !live.isSeen()) {
      verdict.unknown(
          "only the running QEMU can tell which format it guessed", "name the format with format=");
      return;
    }
    Suboptions ours = drive.with(key, path.get().toString());
    if (drive.get("driver").isEmpty()) {
      ours = ours.with("format", format.orElse("raw"));
    }
    boolean readOnly =
        drive.isOn("readonly") || drive.isOn("read-only") || drive.get("media", "").equals("cdrom");
    addDisk(path.get(), format.orElse(""), readOnly, verdict);
    verdict.words("-drive", ours.text());
  }

  private void addDisk(Path path, String format, boolean readOnly, ForeignVerdict verdict) {
    switch (format) {
      case "raw", "host_device" -> disks.add(new Disk(path, Format.RAW, readOnly));
      case "qcow2" -> disks.add(new Disk(path, Format.QCOW2, readOnly));
      default -> verdict.refuse("only images of format raw and qcow2 can be taken over");
    }
  }

  private void node(ForeignPiece piece, ForeignVerdict verdict) {
    Suboptions node = verdict.pairs(piece, "driver");
    Set<String> keys = new LinkedHashSet<>();
    Suboptions ours = node;
    boolean relative = false;
    for (Map.Entry<String, String> entry : node.values().entrySet()) {
      String key = BELOW.matcher(entry.getKey()).replaceFirst("");
      keys.add(key);
      if (key.equals("driver") && !NODE_DRIVERS.contains(entry.getValue())) {
        verdict.refuse("block driver '" + entry.getValue() + "' cannot be taken over");
      }
      if (key.equals("filename")) {
        Optional<Path> path = imagePath(entry.getValue(), verdict);
        if (path.isPresent()) {
          relative |= !path.get().toString().equals(entry.getValue());
          ours = ours.with(entry.getKey(), path.get().toString());
          addNode(path.get(), node);
        }
      }
    }
    verdict.refuseUnknown(keys, NODE_KEYS);
    if (node.get("driver", "").isEmpty()) {
      verdict.refuse("it names no driver");
    }
    verdict.words("-blockdev", relative ? ours.text() : piece.value());
  }

  /// What people call the disk is the image, in whichever node of a chain it is opened.
  private void addNode(Path path, Suboptions node) {
    boolean known = disks.stream().anyMatch(disk -> disk.path().equals(path));
    if (!known) {
      Format format =
          live.format(path).filter("qcow2"::equals).isPresent() ? Format.QCOW2 : Format.RAW;
      disks.add(new Disk(path, format, node.isOn("read-only")));
    }
  }

  /// A local file's path; a reason when it is something else.
  private Optional<Path> imagePath(String file, ForeignVerdict verdict) {
    if (PROTOCOL.matcher(file).matches()) {
      verdict.refuse("only local files can be taken over");
      return Optional.empty();
    }
    if (ForeignFolders.isSet(file)) {
      passed(verdict);
      return Optional.empty();
    }
    Optional<Path> path = folders.path(file);
    path.ifPresentOrElse(images::add, () -> verdict.refuse("its path cannot be understood"));
    return path;
  }

  /// A descriptor behind which a file is found stands no more on a line that is read here.
  private void passed(ForeignVerdict verdict) {
    String no = "it was passed as a descriptor, and no file here is what is behind that";
    if (live.isSeen()) {
      verdict.refuse(no);
    } else {
      verdict.unknown("which file is behind that descriptor, only the running QEMU can tell", "");
    }
  }

  /// A medium that was changed or a snapshot that was taken since: the command line would open an
  /// image that is not the guest's any more.
  @Override
  public ForeignVerdict finish() {
    ForeignVerdict verdict = ForeignVerdict.ofLine();
    if (!live.isSeen()) {
      return verdict;
    }
    for (LiveMachine.Image image : live.images()) {
      boolean known =
          image.file().startsWith("null-")
              || folders.path(image.file()).filter(images::contains).isPresent();
      if (!known) {
        verdict.speaksAgainst(
            "disks",
            "It uses the image "
                + ForeignPiece.excerpt(image.file())
                + ", which its command line does not name",
            "");
      }
    }
    for (Path image : images) {
      if (live.files().stream()
          .noneMatch(file -> folders.path(file).filter(image::equals).isPresent())) {
        verdict.speaksAgainst(
            "disks", "It no longer uses " + image + ", which its command line names", "");
      }
    }
    return verdict;
  }
}
